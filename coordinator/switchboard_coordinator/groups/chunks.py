"""A turn's events as chunks of one `chat.completion`, as OpenAI's clients read them. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from switchboard_coordinator import sse
from switchboard_coordinator.chat import TOOL_EVENT
from switchboard_coordinator.errors import SwitchboardError
from switchboard_coordinator.failure import failure_of
from switchboard_coordinator.turn import Event, Lane, Turn

from .fanout import Delta, Ended, Progress, Shown, arrangement, lane_event, summed_usage


def error_frame(error: SwitchboardError) -> bytes:
    """Ends a stream that had begun; no end mark follows it."""
    return sse.frame(orjson.dumps(error.envelope()))


class Completion:
    """One turn's answer: its chunks as its events come, live or read again later, and the whole of them."""

    def __init__(self, turn_id: str, accepted: Mapping[str, Any], *, model: str, created: int) -> None:
        """`accepted` is the data of the turn's first event, `created` in seconds since 1970."""
        # 29 digits, as hermes-agent 0.19.0 has them; the same turn has the same id whenever it is read.
        self._head = {"id": "chatcmpl-" + turn_id[-29:], "created": created, "model": model}
        self._turn_id = turn_id
        self._accepted = accepted
        self._arrangement = arrangement(accepted)
        self._turn = Turn()
        self._texts: list[list[str]] = [[] for _ in range(self._arrangement.choices)]
        self._reasons: dict[int, str] = {}  # of the choices that are whole, in the order in which they became so

    def frames(self, event: Event) -> list[bytes]:
        """What a client that streams sees of the turn's next event.

        Raises:
            EventRefused: it is not the next one.
        """
        if event.lane is None:
            return self._of_turn(event)
        said = lane_event(event, self._turn.lanes[event.lane])
        self._turn.apply(event)
        if said is None:
            return []
        return [frame for shown in self._arrangement.feed(event.lane, said) for frame in self._shown(shown)]

    def whole(self) -> dict[str, Any]:
        """The `chat.completion` object, once `turn.done` was had."""
        return {
            "id": self._head["id"],
            "object": "chat.completion",
            "created": self._head["created"],
            "model": self._head["model"],
            "choices": [
                {
                    "index": choice,
                    "message": {"role": "assistant", "content": "".join(texts)},
                    "finish_reason": self._reasons.get(choice, "stop"),
                }
                for choice, texts in enumerate(self._texts)
            ],
            **self._summary(),
        }

    def _of_turn(self, event: Event) -> list[bytes]:
        self._turn.apply(event)
        if event.name == "turn.accepted":
            return self._opening()
        return self._closing() if event.name == "turn.done" else [error_frame(failure_of(self._turn))]

    def _opening(self) -> list[bytes]:
        """Every choice's role; the first of them says which lane is which."""
        told = {"turn": self._turn_id, "mode": self._accepted["mode"], "lanes": [*map(self._lane, self._turn.lanes)]}
        role = {"role": "assistant"}
        others = [self._chunk(choice, role) for choice in range(1, len(self._texts))]
        return [self._chunk(0, role, switchboard=told), *others]

    def _lane(self, lane: Lane) -> dict[str, Any]:
        choice = self._arrangement.choice_of(lane.index)
        own = {} if choice is None else {"choice": choice}
        return {"index": lane.index, "address": lane.address, **own}

    def _closing(self) -> list[bytes]:
        """The chunk that ends the last choice, with usage and what became of each lane, and the end mark."""
        open_choices = [choice for choice in range(len(self._texts)) if choice not in self._reasons]
        self._reasons |= dict.fromkeys(open_choices, "stop")
        ends = [self._chunk(choice, {}, finish_reason="stop") for choice in open_choices[:-1]]
        last, reason = next(reversed(self._reasons.items()))
        return [*ends, self._chunk(last, {}, finish_reason=reason, **self._summary()), sse.DONE]

    def _shown(self, shown: Shown) -> list[bytes]:
        """What is shown as frames; the end of the last choice waits for the turn's."""
        match shown:
            case Delta(choice, text):
                self._texts[choice].append(text)
                return [self._chunk(choice, {"content": text})]
            case Progress(lane, progress):
                who = {"switchboard": {"address": self._turn.lanes[lane].address}} if self._accepted["mode"] else {}
                return [sse.frame(orjson.dumps({**progress, **who}), event=TOOL_EVENT)]
            case Ended(choice, reason):
                self._reasons[choice] = reason
                is_last = len(self._reasons) == len(self._texts)
                return [] if is_last else [self._chunk(choice, {}, finish_reason=reason)]

    def _summary(self) -> dict[str, Any]:
        lanes = self._turn.lanes
        told: dict[str, Any] = {"turn": self._turn_id, "mode": self._accepted["mode"]}
        told |= {name: self._accepted[name] for name in ("quorum", "chair") if self._accepted.get(name) is not None}
        told["lanes"] = [lane.told() for lane in lanes]
        return {"usage": summed_usage(lane.end.get("usage") for lane in lanes), "switchboard": told}

    def _chunk(self, choice: int, delta: dict[str, str], *, finish_reason: str | None = None, **more: object) -> bytes:
        value = {
            "id": self._head["id"],
            "object": "chat.completion.chunk",
            "created": self._head["created"],
            "model": self._head["model"],
            "choices": [{"index": choice, "delta": delta, "finish_reason": finish_reason}],
            **more,
        }
        return sse.frame(orjson.dumps(value))
