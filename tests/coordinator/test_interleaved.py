"""Many turns of every mode, their lanes' events in any order: nothing is lost, doubled, or put into a wrong lane.

A failure names its turn: SEED=… (as printed) begins with the same turns again.
"""

import json
import os
import re
import secrets
from collections.abc import Sequence
from random import Random
from typing import Any

from coordinator.told import ToldTurn
from hypothesis import settings
from switchboard_coordinator.groups.chunks import Completion
from switchboard_coordinator.groups.modes import Decision, course

EVENTS, EVENTS_AT_LENGTH = 100_000, 1_000_000
ARRANGED = [
    ("", "sections"),
    ("any", "sections"),
    ("first", "sections"),
    *[(mode, answers) for mode in ("all", "quorum", "council") for answers in ("sections", "choices")],
]
TAG = re.compile(r"<(\d+)\.(\d+)>")
HEADING = re.compile(r"### default@p(\d+)\n\n")


class Interleaved:
    """One turn, told by chance; a client reads it meanwhile."""

    def __init__(self, random: Random) -> None:
        self._random = random
        mode, self.answers = random.choice(ARRANGED)
        count = 1 if mode in ("", "any") else random.choice((1, 2, 3, 5, 16, 64))
        self.chair = count if mode == "council" else None
        lanes = [f"p{lane}" for lane in range(count + (mode == "council"))]
        quorum = random.randint(1, count) if mode == "quorum" else None
        self.told = ToldTurn(mode, lanes, answers=self.answers, quorum=quorum, chair=self.chair)
        self.mode = mode
        self.said = [0] * len(lanes)
        self.used = [0] * len(lanes)
        self.winner: int | None = None
        self.has_asked_chair = False
        self._to_cancel: set[int] = set()
        self._course = course(self.told.accepted, "what is it?")
        self.completion = Completion(self.told.id, self.told.accepted, model=f"{mode}@fleet", created=7)
        self.frames = self.completion.frames(self.told.events[0])

    def run(self) -> None:
        """Tell it to its end."""
        lanes = self.told.turn.lanes
        length = self._random.choice((1, 5, 40))
        while going := [lane.index for lane in lanes if not lane.is_over and self._may_go(lane.index)]:
            lane = self._random.choice(going)
            if lane in self._to_cancel and (lanes[lane].state == "queued" or self._random.random() < 0.5):
                self._seen("lane.cancelled", lane, reason="decided")
            elif lanes[lane].state == "queued":
                self._seen("lane.sent", lane, address=lanes[lane].address, attempt=1, transport="chat")
            else:
                self._step(lane, length)
        self._seen(f"turn.{self.told.turn.outcome()}", None, code="peer_failed", message="all broke")

    def _may_go(self, lane: int) -> bool:
        return lane != self.chair or self.has_asked_chair or lane in self._to_cancel

    def _step(self, lane: int, length: int) -> None:
        if self._random.random() < 1 / length:
            state = self._random.choice(("done", "done", "done", "failed", "interrupted"))
            usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
            self._seen(f"lane.{state}", lane, finish_reason="stop", usage=usage, code="x", message="it broke")
        elif self._random.random() < 0.1:
            self.used[lane] += 1
            self._seen("lane.tool", lane, progress={"lane": lane, "number": self.used[lane]})
        else:
            if self.winner is None:
                self.winner = lane
            self.said[lane] += 1
            self._seen("lane.text", lane, text=f"<{lane}.{self.said[lane]}>")

    def _seen(self, name: str, lane: int | None, **data: Any) -> None:
        event = self.told.note(name, lane, **data)
        self.frames += self.completion.frames(event)
        decision = self._course.feed(event) if self._course is not None else Decision()
        self._to_cancel.update(decision.cancel)
        self.has_asked_chair = self.has_asked_chair or decision.ask_chair is not None

    def check(self) -> None:
        """What the client saw is what the lanes said."""
        chunks = [json.loads(frame.partition(b"data: ")[2]) for frame in self.frames if frame != b"data: [DONE]\n\n"]
        texts: dict[int, str] = {}
        reasons: list[int] = []
        for chunk in chunks:
            for choice in chunk.get("choices", ()):
                texts[choice["index"]] = texts.get(choice["index"], "") + choice["delta"].get("content", "")
                reasons += [choice["index"]] if choice["finish_reason"] else []
        self._check_tools([chunk for chunk in chunks if "number" in chunk])
        parts = self._parts(texts)
        for lane, text in parts.items():
            assert TAG.findall(text) == [(str(lane), str(number + 1)) for number in range(self.said[lane])], lane
        assert sum(len(TAG.findall(text)) for text in texts.values()) == sum(self.said[lane] for lane in parts)
        if self.told.turn.state == "done":
            assert sorted(reasons) == sorted(texts), "each choice ends once"
            assert [choice["message"]["content"] for choice in self.completion.whole()["choices"]] == [
                texts[choice] for choice in sorted(texts)
            ]
        else:
            assert "error" in chunks[-1]
        assert (self.frames[-1] == b"data: [DONE]\n\n") == (self.told.turn.state == "done")

    def _parts(self, texts: dict[int, str]) -> dict[int, str]:
        """Each lane that is to be shown, and all that was shown of it."""
        lanes = range(len(self.said))
        if self.mode == "first":
            return {} if self.winner is None else {self.winner: texts[0]}
        if self.mode in ("", "any"):
            return {0: texts[0]}
        if self.chair is not None:
            others = [lane for lane in lanes if lane != self.chair] if self.answers == "choices" else []
            return {lane: texts[choice] for choice, lane in enumerate((self.chair, *others))}
        if self.answers == "choices":
            return {lane: texts[lane] for lane in lanes}
        _, *found = HEADING.split(texts[0])
        parts = dict(zip(map(int, found[::2]), found[1::2], strict=True))
        assert sorted(map(int, found[::2])) == list(lanes), "each lane has one section"
        return parts

    def _check_tools(self, tools: Sequence[dict[str, Any]]) -> None:
        numbers: list[list[int]] = [[] for _ in self.used]
        for tool in tools:
            numbers[tool["lane"]].append(tool["number"])
            if self.mode:
                assert tool["switchboard"] == {"address": f"default@p{tool['lane']}"}
        for lane, used in enumerate(self.used):
            is_shown = self.mode != "first" or lane == self.winner
            assert numbers[lane] == [number + 1 for number in range(used if is_shown else 0)], lane


def test_no_event_is_shown_in_a_wrong_lane_and_each_lane_keeps_its_order() -> None:
    wanted = EVENTS_AT_LENGTH if settings.get_current_profile_name() == "long" else EVENTS
    seed = os.environ.get("SEED") or str(secrets.randbits(32))
    print(f"SEED={seed}")
    events = turns = 0
    states: dict[str, int] = {}
    while events < wanted:
        turn = Interleaved(Random(f"{seed}/{turns}"))  # noqa: S311 - chance that can be repeated
        try:
            turn.run()
            turn.check()
        except Exception as error:
            error.add_note(f"SEED={seed}, turn {turns}: {turn.mode or 'one lane'}, {turn.answers}")
            raise
        events += len(turn.told.events)
        turns += 1
        states[turn.told.turn.state] = states.get(turn.told.turn.state, 0) + 1
    assert states.keys() >= {"done", "failed", "interrupted"}
    print(f"{events} events in {turns} turns: {states}")
