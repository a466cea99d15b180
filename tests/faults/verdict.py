"""What a turn must come to, judged by what crossed the wire and what the agents executed. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .exchanges import Exchange
from .schedule import APPROVE, Ask

UNKNOWN = "peer_outcome_unknown"
DONE, CANCELLED = "done", "cancelled"
END_MARK = b"data: [DONE]\n\n"
NOT_STARTED = {"peer_unavailable", "peer_busy", "agent_unreachable"}
"""The codes that say so; other ways not to start are in no schedule."""
_OF_THE_CANCELLED = frozenset(("turn_cancelled", "deadline_exceeded"))

Known = Literal["not_started", "over", "unknown"]


def known(exchange: Exchange) -> Known:
    """What the coordinator can know, from its place, of the turn that this exchange carried to a proxy.

    There is an exchange only where a connection was accepted, so the request may have left. Then it is

    unknown       where no whole head came back; where the head of a stream came and not the stream's end mark, or the
                  head of an accepted run and not its whole body, which has the run's id; and where the proxy itself
                  says `x-switchboard-started: unknown`;
    not_started   where a whole head refuses it: the proxy's `x-switchboard-started: no`, the agent's 401, 429 or 503;
    over          where the end mark or the run's id came, or the agent's whole head says anything else. A run whose id
                  is known can be looked at until it has ended.

    A refusal's head is enough: what breaks off behind it does not take its word back.
    """
    match exchange.status:
        case None:
            return "unknown"
        case 200:
            return "over" if END_MARK in exchange.answer else "unknown"
        case 202:
            return "over" if exchange.is_answer_whole else "unknown"
    started = exchange.headers.get("x-switchboard-started")
    if started is not None:
        return "not_started" if started == "no" else "unknown"
    return "not_started" if exchange.status in (401, 429, 503) else "over"


@dataclass(frozen=True)
class Told:
    """What a client heard at last.

    whole    everything, with its end mark or last event
    error    an error with a code, as an answer of its own or as the end of a stream
    left     nothing more: it went away
    silence  neither, until its patience or the connection ended
    """

    kind: Literal["whole", "error", "left", "silence"]
    text: str = ""
    code: str = ""
    started: str = ""
    """Whether the turn may have run, as far as an error told."""
    words: str = ""
    turn: str = ""
    """The turn's id, as far as it was told."""


@dataclass(frozen=True)
class LaneRecord:
    """One lane as the coordinator tells it afterwards; `label` is done, cancelled, its state, or a failure's code."""

    peer: str
    label: str
    text: str


@dataclass(frozen=True)
class Record:
    """The turn as the coordinator tells it afterwards."""

    state: str
    code: str
    lanes: tuple[LaneRecord, ...]


@dataclass(frozen=True)
class LaneEvidence:
    """What was seen of one lane.

    Attributes:
        peers: where it may have gone.
        exchanges: those that carried the turn from the coordinator, in order.
        executions: how often an agent began to work on it.
        said: all that the agent says that worked on it; None where that is not known.
        has_unread: a peer's hop reset connections before it read anything: one of them may have been this turn's.
    """

    peers: tuple[str, ...]
    exchanges: tuple[Exchange, ...] = ()
    executions: int = 0
    said: str | None = ""
    has_unread: bool = False


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen of one turn.

    Attributes:
        heard: what its client heard, each time that it asked.
        record: None where no client learned the turn's id.
        lanes: a turn to any of a group has one.
    """

    ask: Ask
    heard: tuple[Told, ...]
    record: Record | None
    lanes: tuple[LaneEvidence, ...]


def findings(evidence: Evidence) -> list[str]:
    """Every way in which the turn came out otherwise than it may."""
    found = [*_twice(evidence.lanes)]
    found += [f"lost in silence: {told.words}" for told in evidence.heard if told.kind == "silence"]
    if len({told.turn for told in evidence.heard if told.turn}) > 1:
        found.append("the same key gave two turns")
    if evidence.record is None:
        return found
    for told in evidence.heard:
        found += _misinformed(evidence.ask, told, evidence.record, evidence.lanes)
    for lane, record in zip(evidence.lanes, evidence.record.lanes, strict=True):
        found += _mislabelled(evidence.ask, lane, record.label)
        found += _misquoted(lane, record)
    return found


def _twice(lanes: Sequence[LaneEvidence]) -> Iterator[str]:
    for lane in lanes:
        if lane.executions > 1:
            yield f"executed {lane.executions} times by {', '.join(lane.peers)}"
        for exchange in lane.exchanges[:-1]:
            if known(exchange) != "not_started":
                yield f"sent again after an answer of {', '.join(lane.peers)} that was {known(exchange)}"


def _misinformed(ask: Ask, told: Told, record: Record, lanes: Sequence[LaneEvidence]) -> Iterator[str]:
    """A client that was told otherwise than the record has it."""
    if told.kind == "whole" and record.state != DONE:
        yield f"told as done, and on record as {record.state}"
    if told.kind == "error":
        if record.state == DONE:
            yield f"told as {told.code}, and on record as done"
        elif told.code != record.code and not (record.state == CANCELLED and told.code in _OF_THE_CANCELLED):
            yield f"told as {told.code}, and on record as {record.code or record.state}"
        if told.started == "no" and any(lane.executions for lane in lanes):
            yield f"told as not started ({told.code}), and executed"
    if APPROVE in ask.directives:
        return  # a client that cannot approve is told what was denied in its name
    if len(record.lanes) == 1 and not record.lanes[0].text.startswith(told.text):
        yield f"the client heard {told.text!r}, and on record is {record.lanes[0].text!r}"
    texts = [lane.text for lane in record.lanes if lane.label == DONE]
    enough = any if ask.mode == "first" else all
    if told.kind == "whole" and not enough(text in told.text for text in texts):
        yield f"the client heard {told.text!r}, and on record is {texts}"


def _mislabelled(ask: Ask, lane: LaneEvidence, label: str) -> Iterator[str]:
    """A label that says more, or less, than the coordinator could know."""
    came_to: str = known(lane.exchanges[-1]) if lane.exchanges else "never asked"
    unread = {UNKNOWN} if lane.has_unread else set()
    match came_to:
        case "never asked":
            may_be = {"peer_unavailable"} | unread
        case "not_started":
            may_be = NOT_STARTED | unread
        case "over" if ask.transport == "runs" and "!!die" in ask.directives:
            may_be = {UNKNOWN}  # an agent that died knows nothing of its runs
        case "over":
            may_be = {DONE}
        case _:
            may_be = {UNKNOWN}
    if label == CANCELLED and ask.may_be_cancelled:
        return
    if label not in may_be:
        yield f"{', '.join(lane.peers)}: {came_to}, and labelled {label}"
    if label in NOT_STARTED and lane.executions:
        yield f"{', '.join(lane.peers)}: labelled {label}, and executed"
    if label == DONE and lane.executions != 1:
        yield f"{', '.join(lane.peers)}: done after {lane.executions} executions"


def _misquoted(lane: LaneEvidence, record: LaneRecord) -> Iterator[str]:
    """Text that is not what the agent said, as far as it came."""
    if lane.said is None:
        return
    if record.text != lane.said if record.label == DONE else not lane.said.startswith(record.text):
        yield f"on record is {record.text!r}, where {record.peer} said {lane.said!r}"


def in_words(found: Sequence[str], evidence: Evidence) -> str:
    """A finding for a person to read."""
    lines = [" | ".join(found), str(evidence.ask), *map(str, evidence.heard), str(evidence.record)]
    for lane in evidence.lanes:
        came_to = [f"{each.status} {known(each)}" for each in lane.exchanges]
        lines.append(f"{', '.join(lane.peers)}: {lane.executions} executions; {', '.join(came_to) or 'never asked'}")
    return "\n    ".join(lines)
