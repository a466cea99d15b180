"""What the client of a steady load knows of each of its turns, and the judgement of them all. Pure.

A turn FAILED unless it has exactly one good answer (done, its lanes too, each with the words that its agent was to
say) and the model saw its text exactly once for each lane.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OVER = frozenset(("done", "failed", "cancelled", "interrupted"))
_MARK = re.compile(r"\bturn-[0-9a-f]+-[0-9]{6}\b")


@dataclass
class Lane:
    """One address's part, as the events told it."""

    address: str
    state: str = "queued"
    text: str = ""


@dataclass
class Record:
    """One turn as its client lived through it. Times are seconds of one clock.

    `mark` is in its text and in no other; `spoken` is what an agent echoes. `due` is when the rate wanted it asked,
    `begun` when it was. `resends` has the reason of each POST that was sent again because nothing had started;
    `repeats` counts those whose answer did not come, sent again under the same Idempotency-Key. `turns` are the ids
    that it got, one for each time that it was accepted. `state` is `open` until it is known, then a turn's, or
    `refused`, `lost` (the coordinator does not know the id it gave), `given up`.
    """

    mark: str
    to: str
    spoken: str
    due: float
    begun: float = 0.0
    first_event: float | None = None
    ended: float | None = None
    state: str = "open"
    code: str = ""
    lanes: dict[int, Lane] = field(default_factory=dict)
    turns: list[str] = field(default_factory=list)
    resends: list[str] = field(default_factory=list)
    repeats: int = 0
    reconnects: int = 0
    faults: list[str] = field(default_factory=list)
    """What the coordinator did against its own protocol."""
    history: list[str] = field(default_factory=list)
    last_event: int = 0

    def note(self, now: float, words: str) -> None:
        """One line of its history."""
        self.history.append(f"{now - self.due:8.3f} s  {words}")

    def accepted(self, now: float, turn: str) -> None:
        """The coordinator took it, as this turn."""
        self.note(now, f"accepted as {turn}")
        self.turns.append(turn)
        self.lanes, self.last_event = {}, 0

    def end(self, now: float, state: str, code: str = "") -> None:
        """It came to its end."""
        self.note(now, f"{state} {code}".rstrip())
        self.ended, self.state, self.code = now, state, code

    def see(self, now: float, event: Mapping[str, Any]) -> bool:
        """Take in one event of its stream; whether it was the last."""
        name, number = str(event["event"]), int(event["id"])
        self.first_event = now if self.first_event is None else self.first_event
        if name == "turn.snapshot":
            self.lanes = {
                lane["index"]: Lane(lane["address"], lane["state"], lane["text"] or "") for lane in event["lanes"]
            }
        elif number != self.last_event + 1:
            self.faults.append(f"event {number} came behind event {self.last_event}")
        self.last_event = number
        if name != "lane.text":
            self.note(now, " ".join([f"{number} {name}", *map(str, _told(event))]))
        if name == "turn.accepted":
            self.lanes = {index: Lane(address) for index, address in enumerate(event["lanes"])}
        subject, _, state = name.partition(".")
        if subject == "lane":
            self._see_lane(self.lanes.setdefault(event["lane"], Lane(event["address"])), state, event)
        if subject == "turn" and state in OVER:
            self.end(now, state, str(event.get("code") or event.get("reason") or ""))
            return True
        return False

    def _see_lane(self, lane: Lane, state: str, event: Mapping[str, Any]) -> None:
        lane.address = event["address"]
        if state == "text":
            lane.text += event["text"]
        elif state in OVER:
            lane.state = state


@dataclass(frozen=True)
class Failure:
    """A turn that failed, and why."""

    record: Record
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        head = f"{self.record.mark} to {self.record.to}: {'; '.join(self.reasons)}"
        return "\n    ".join([head, *self.record.history])


@dataclass(frozen=True)
class Verdict:
    """The judgement. Times are seconds from when a turn was due to its end; `late` is the most that one was begun late.

    `per_second` is the rate that was held. `resends` counts by reason.
    """

    failures: tuple[Failure, ...]
    turns: int
    per_second: float
    late: float
    p50: float
    p99: float
    longest: float
    resends: Counter[str]
    repeats: int
    reconnects: int

    def __str__(self) -> str:
        again = ", ".join(f"{count} × {reason}" for reason, count in self.resends.most_common()) or "none"
        return (
            f"{self.turns} turns at {self.per_second:.1f}/s (at most {self.late:.2f} s late), "
            f"{len(self.failures)} failed; p50 {self.p50:.2f} s, p99 {self.p99:.2f} s, longest {self.longest:.2f} s; "
            f"sent again, nothing having started: {again}; repeated under the same key: {self.repeats}; "
            f"reconnected: {self.reconnects}"
        )

    def in_words(self, most: int = 5) -> str:
        """The figures, and the first failures with their histories."""
        rest = len(self.failures) - most
        more = [f"… and {rest} more"] if rest > 0 else []
        return "\n".join([str(self), *map(str, self.failures[:most]), *more])


def seen(texts: Iterable[str]) -> Counter[str]:
    """How often a model saw the text of each mark; `texts` are those of the turns that it executed."""
    return Counter(mark for text in texts for mark in set(_MARK.findall(text)))


def judged(records: Sequence[Record], models: Mapping[str, int]) -> Verdict:
    """Judge turns of one load by what the models saw of each mark. There must be at least one."""
    if not records:
        raise ValueError("nothing was asked")
    found = [Failure(record, reasons) for record in records if (reasons := _reasons(record, models))]
    took = sorted(record.ended - record.due for record in records if record.ended is not None) or [0.0]
    first, last = min(r.due for r in records), max(r.begun for r in records)
    return Verdict(
        failures=tuple(found),
        turns=len(records),
        per_second=(len(records) - 1) / (last - first) if last > first else 0.0,
        late=max(record.begun - record.due for record in records),
        p50=took[len(took) // 2],
        p99=took[min(len(took) - 1, len(took) * 99 // 100)],
        longest=took[-1],
        resends=Counter(reason for record in records for reason in record.resends),
        repeats=sum(record.repeats for record in records),
        reconnects=sum(record.reconnects for record in records),
    )


def _reasons(record: Record, models: Mapping[str, int]) -> tuple[str, ...]:
    reasons = list(record.faults)
    if record.state != "done":
        reasons.append(f"{record.state} {record.code}".rstrip())
    else:
        for lane in record.lanes.values():
            if lane.state != "done":
                reasons.append(f"{lane.address} is {lane.state}")
            elif lane.text.strip() != said(lane.address, record.spoken):
                reasons.append(f"{lane.address} said {lane.text!r}")
    executions, wanted = models.get(record.mark, 0), max(1, len(record.lanes))
    if executions != wanted:
        reasons.append(f"the model saw it {executions} times in place of {wanted}")
    return tuple(reasons)


def said(address: str, spoken: str) -> str:
    """What the agent at this address answers: mock agents and the deterministic model alike."""
    profile, _, peer = address.rpartition("@")
    return f"[{peer if profile in ('', 'default') else f'{peer}/{profile}'}] echo: {spoken}"


def _told(event: Mapping[str, Any]) -> list[Any]:
    return [event[name] for name in ("address", "position", "attempt", "code", "reason") if event.get(name) is not None]
