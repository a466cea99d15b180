"""What a turn must come to, judged by what crossed the wire and what the agents executed. Pure."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .exchanges import Exchange
from .schedule import Ask

UNKNOWN = "peer_outcome_unknown"
DONE = "done"
END_MARK = b"data: [DONE]\n\n"

Known = Literal["not_started", "over", "unknown"]


def known(exchange: Exchange) -> Known:
    """What the coordinator can know, from its place, of the turn that this exchange carried to a proxy.

    There is an exchange only where a connection was accepted, so the request may have left. Then it is

    unknown       where no whole head came back; where the head of a stream came and not the stream's end mark; and
                  where the proxy itself says `x-switchboard-started: unknown`;
    not_started   where a whole head refuses it: the proxy's `x-switchboard-started: no`, the agent's 401, 429 or 503;
    over          where the end mark came, or the agent's whole head says anything else.

    A refusal's head is enough: what breaks off behind it does not take its word back.
    """
    if exchange.status is None:
        return "unknown"
    if exchange.status == 200:
        return "over" if END_MARK in exchange.answer else "unknown"
    started = exchange.headers.get("x-switchboard-started")
    if started is not None:
        return "not_started" if started == "no" else "unknown"
    return "not_started" if exchange.status in (401, 429, 503) else "over"


@dataclass(frozen=True)
class Told:
    """What a client heard at last.

    whole    everything, with its end mark
    error    an error with a code, as an answer of its own or as the last frame of a stream
    left     nothing more: it went away
    silence  neither, until the client's patience or the connection ended
    """

    kind: Literal["whole", "error", "left", "silence"]
    text: str = ""
    code: str = ""
    started: str = ""
    """`x-switchboard-started`, where the answer was an error of its own."""
    words: str = ""
    lanes: tuple[tuple[str, str], ...] | None = None
    """The peer of each lane and what became of it: `done` or a code. None: not told."""


@dataclass(frozen=True)
class LaneEvidence:
    """What was seen of a turn at one peer."""

    peer: str
    exchanges: tuple[Exchange, ...]
    """That carried the turn from the coordinator, in order."""
    executions: int
    """How often its agent began to work on it."""
    has_unread: bool = False
    """The peer's hop reset connections before it read anything: one of them may have been this turn's."""


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen of one turn."""

    ask: Ask
    told: Told
    lanes: tuple[LaneEvidence, ...]
    """At every peer that it may have gone to."""


def findings(evidence: Evidence) -> list[str]:
    """Every way in which the turn came out otherwise than it may."""
    found = [*_twice(evidence)]
    if evidence.told.kind == "left":
        return found
    if evidence.told.kind == "silence":
        return [*found, f"lost in silence: {evidence.told.words}"]
    if evidence.told.started == "no" and any(lane.executions for lane in evidence.lanes):
        found.append(f"told as not started ({evidence.told.code}), and executed")
    for lane in evidence.lanes:
        found += _mislabelled(lane, _label(evidence, lane))
    return [*found, *_misquoted(evidence)]


def _twice(evidence: Evidence) -> list[str]:
    found = []
    counts = [lane.executions for lane in evidence.lanes]
    if max(counts) > 1 or (evidence.ask.mode != "all" and sum(counts) > 1):
        found.append(f"executed twice: {counts}")
    return found + [
        f"sent to {lane.peer} again after an answer that was {known(exchange)}"
        for lane in evidence.lanes
        for exchange in lane.exchanges[:-1]
        if known(exchange) != "not_started"
    ]


def _label(evidence: Evidence, lane: LaneEvidence) -> str | None:
    """What the client was told of this lane; None where it was told nothing of it alone."""
    told = evidence.told
    if told.lanes is not None:
        return dict(told.lanes).get(lane.peer)
    if len(evidence.lanes) == 1:
        return DONE if told.kind == "whole" else told.code
    return None


def _mislabelled(lane: LaneEvidence, label: str | None) -> list[str]:
    """A label that says more, or less, than the coordinator could know."""
    if label is None:
        return []
    came_to = known(lane.exchanges[-1]) if lane.exchanges else "unknown" if label == UNKNOWN and lane.has_unread else ""
    may_be = {
        "": {"peer_unavailable"},
        "not_started": {"peer_unavailable", "peer_busy", "agent_unreachable"},
        "over": {DONE},
        "unknown": {UNKNOWN},
    }[came_to]
    found = []
    if label not in may_be:
        found.append(f"{lane.peer} is {came_to or 'never asked'} and labelled {label}")
    if label in ("peer_unavailable", "peer_busy", "agent_unreachable") and lane.executions:
        found.append(f"{lane.peer} is labelled {label} and executed it")
    if label == DONE and lane.executions != 1:
        found.append(f"{lane.peer} is done after {lane.executions} executions")
    return found


def _misquoted(evidence: Evidence) -> list[str]:
    """Text that is not what the agents said, as far as it came."""
    told, texts = evidence.told, [_said(lane) for lane in evidence.lanes]
    if len(texts) == 1:
        if told.kind == "whole" and told.text != texts[0]:
            return [f"the client heard {told.text!r} where the agent said {texts[0]!r}"]
        if not texts[0].startswith(told.text):
            return [f"the client heard {told.text!r}, which does not begin {texts[0]!r}"]
        return []
    if told.kind != "whole":
        return []
    done = Counter(peer for peer, label in told.lanes or () if label == DONE)
    return [
        f"the client did not hear what {lane.peer} said"
        for lane, text in zip(evidence.lanes, texts, strict=True)
        if done[lane.peer] and text not in told.text
    ]


def _said(lane: LaneEvidence) -> str:
    return text_of(lane.exchanges[-1].answer) if lane.exchanges else ""


def text_of(stream: bytes) -> str:
    """The text of the chunks of choice 0 in a stream of server-sent events, as far as it is whole."""
    text = ""
    for frame in stream.split(b"\n\n")[:-1]:
        data = frame.partition(b"data: ")[2]
        if data.startswith(b"{"):
            for choice in json.loads(data).get("choices", ()):
                text += choice["delta"].get("content") or "" if choice["index"] == 0 else ""
    return text


def words(found: Sequence[str], evidence: Evidence) -> str:
    """A finding for a person to read."""
    lanes = "; ".join(
        f"{lane.peer}: {lane.executions} executions, "
        + (", ".join(f"{each.status} {known(each)}" for each in lane.exchanges) or "never asked")
        for lane in evidence.lanes
    )
    return f"{' | '.join(found)}\n    {evidence.ask}\n    {evidence.told}\n    {lanes}"
