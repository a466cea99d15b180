"""A lane over `/v1/runs`: a run on the peer outlives this process, can be stopped, and can ask for approvals.

A run's events have one reader and are lost where nobody reads them, so a stream that broke is completed from the run's
status (hermes-agent 0.19.0: kept for an hour, lost with the agent's process). They are opened once: that a reader left
is noticed when the agent next writes, and who reads beside it until then gets neither that event, nor any behind it,
nor the end.
"""

import asyncio
from contextlib import suppress
from typing import Any

from switchboard_relay import Headers

from switchboard_coordinator import lenient_json, sse
from switchboard_coordinator.address import Address
from switchboard_coordinator.errors import Conflict, PeerError, PeerOutcomeUnknown, PeerRejected
from switchboard_coordinator.peers.peer import Frames, Peer

from .lane import LaneEnd
from .live import LiveTurn
from .question import Question

START_SECONDS = 5.0
"""So long a cancelled lane waits to learn the id of the run that it has to stop."""
STOP_SECONDS = 5.0
STOP_PAUSE_SECONDS = 0.2
POLL_SECONDS = (0.1, 0.2, 0.5, 1.0)
"""Pauses between looks at a run whose events are lost; the last one repeats."""
SILENCE_SECONDS = 15.0
"""A run whose events say nothing for so long is looked at. They have one reader: where a request for them was repeated
on the way, the first one's end ends them, and the second one hears nothing but keepalives (hermes-agent 0.19.0)."""
PATIENCE_SECONDS = 60.0
"""So long a run is looked for on a peer that does not answer."""

_PROBE = 32

Run = dict[str, Any]


class RunsLane:
    """One conversation. `question` is None where it only takes up a run; `can_approve`: somebody can be asked."""

    def __init__(
        self,
        live: LiveTurn,
        index: int,
        peers: dict[str, Peer],
        question: Question | None,
        headers: Headers,
        *,
        can_approve: bool,
    ) -> None:
        self._live = live
        self._index = index
        self._peers = peers
        self._question = question
        self._headers = headers
        self._can_approve = can_approve
        lane = live.turn.lanes[index]
        self._address = Address.of(lane.address) if lane.run_id is not None else None
        self._starting: asyncio.Task[dict[str, Any]] | None = None

    @property
    def _run_id(self) -> str | None:
        return self._live.turn.lanes[self._index].run_id

    async def hold(self, address: Address, attempt: int) -> LaneEnd:
        """See `Conversation.hold`."""
        assert self._question is not None  # noqa: S101 - None for a run that was begun before
        self._address = address
        run = await self._question.run(address)
        headers = (*self._headers, (b"idempotency-key", f"{self._live.id}.{self._index}.{attempt}".encode("ascii")))
        # A task of its own: cancelled half way, a run could start of which nobody knows the id.
        self._starting = asyncio.create_task(
            self._peer.call(b"POST", address.profile, "/v1/runs", headers=headers, body=run)
        )
        self._began(await asyncio.shield(self._starting))
        await self._live.written()
        return await self._follow()

    async def resume(self, address: Address) -> LaneEnd:
        """See `Conversation.resume`: from the run's status alone, for its events had their reader."""
        self._address = address
        return await self._complete()

    async def stop(self) -> dict[str, Any]:
        """See `Conversation.stop`. `stopped` tells whether the agent has confirmed it."""
        if self._run_id is None and self._starting is not None:
            with suppress(TimeoutError, PeerError):
                async with asyncio.timeout(START_SECONDS):
                    self._began(await self._starting)
        if self._run_id is None:
            return {}
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while True:
                    try:
                        await self._call(b"POST", "/stop", {})
                    except PeerRejected:  # it has ended already
                        return {"stopped": True}
                    except PeerError:
                        await asyncio.sleep(STOP_PAUSE_SECONDS)
                    else:
                        return {"stopped": True}
        except TimeoutError:
            return {"stopped": False}

    async def approve(self, approval: str, choice: str, by: str) -> None:
        """Answer an approval that the agent waits for.

        Raises:
            Conflict: nobody waits for it.
            PeerError: the agent was not reached, or refuses the choice.
        """
        if approval not in self._live.turn.lanes[self._index].approvals:
            raise Conflict("approval_not_pending", f"nobody waits for {approval!r} in this turn")
        await self._call(b"POST", "/approval", {"choice": choice})
        self._approved(approval, choice, by)
        await self._live.written()

    @property
    def _peer(self) -> Peer:
        assert self._address is not None  # noqa: S101 - `hold` and `resume` set it first
        return self._peers[self._address.peer]

    def _began(self, told: dict[str, Any]) -> None:
        run_id = told.get("run_id")
        if not isinstance(run_id, str) or not run_id:
            raise PeerOutcomeUnknown(f"{self._address} took the turn and gave no run id; it may have run")
        if self._run_id is None:
            self._note("lane.run", run_id=run_id)

    async def _call(self, method: bytes, path: str = "", body: object = None) -> dict[str, Any]:
        assert self._address is not None  # noqa: S101 - `hold` and `resume` set it first
        headers = ((b"content-type", b"application/json"),) if body is not None else ()
        return await self._peer.call(
            method, self._address.profile, f"/v1/runs/{self._run_id}{path}", headers=headers, body=body
        )

    async def _follow(self) -> LaneEnd:
        """Read the run's events to their end, and look at the run where they end early."""
        assert self._address is not None  # noqa: S101 - `hold` and `resume` set it first
        try:
            async with self._peer.events(self._address.profile, f"/v1/runs/{self._run_id}/events") as frames:
                end = await self._read(frames)
                if end is not None:
                    return end
        except PeerError:
            pass
        return await self._complete()

    async def _read(self, frames: Frames) -> LaneEnd | None:
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    pieces = await frames.next()
            except TimeoutError:
                if (end := await self._look()) is not None:
                    return end
                continue
            if not pieces:
                return None
            for frame in pieces:
                end = await self._take(frame)
                if end is not None:
                    await frames.settle()
                    return end

    async def _take(self, frame: bytes) -> LaneEnd | None:
        _, data = sse.fields(frame)
        try:
            event = lenient_json.loads(data)
        except ValueError:
            return None
        match event.get("event") if isinstance(event, dict) else None:
            case "message.delta" if event.get("delta"):
                self._note("lane.text", text=event["delta"])
            case "tool.started" | "tool.completed":
                self._note("lane.tool", progress=_progress(event))
            case "approval.request":
                asked = {name: event[name] for name in ("command", "description", "choices") if name in event}
                await self._asked(asked)
            case "run.completed":
                return self._ended({**event, "status": "completed"})
            case "run.failed":
                return self._ended({**event, "status": "failed"})
            case "run.cancelled":
                return self._ended({**event, "status": "cancelled"})
        return None

    async def _asked(self, asked: dict[str, Any]) -> None:
        approval = f"approval_{self._live.turn.last_id + 1}"  # its event's id: no other has it, in no other process
        self._note("lane.approval", approval=approval, **asked)
        if self._can_approve:
            await self._live.written()
        else:
            await self._deny(approval)

    async def _deny(self, approval: str) -> None:
        await self._call(b"POST", "/approval", {"choice": "deny"})
        self._approved(approval, "deny", "switchboard")

    def _approved(self, approval: str, choice: str, by: str) -> None:
        # The run may have gone on, or come to its end, while the agent was being told.
        if approval in self._live.turn.lanes[self._index].approvals:
            self._note("lane.approved", approval=approval, choice=choice, by=by)

    async def _status(self) -> dict[str, Any]:
        """What the peer tells of the run.

        Raises:
            PeerOutcomeUnknown: it does not know the run any more, or is not there for a long time.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_SECONDS
        pauses = iter(POLL_SECONDS)
        while True:
            try:
                return await self._call(b"GET")
            except PeerRejected as error:
                raise PeerOutcomeUnknown(
                    f"{self._address} does not know run {self._run_id} any more ({error.words}); it may have run"
                ) from error
            except PeerError as error:
                if loop.time() > until:
                    raise PeerOutcomeUnknown(f"{error.words}; run {self._run_id} may go on there") from error
            await asyncio.sleep(next(pauses, POLL_SECONDS[-1]))

    async def _complete(self) -> LaneEnd:
        """Look at the run until it has ended."""
        pauses = iter(POLL_SECONDS)
        while True:
            end = await self._look()
            if end is not None:
                return end
            await asyncio.sleep(next(pauses, POLL_SECONDS[-1]))

    async def _look(self) -> LaneEnd | None:
        """The run's end, if it has ended; what it waits for is taken up."""
        status = await self._status()
        end = self._ended(status)
        if end is None and status.get("status") == "waiting_for_approval":
            approvals = self._live.turn.lanes[self._index].approvals
            with suppress(PeerError):  # the agent was not reached: the next look does it again
                if not approvals:
                    await self._asked({"choices": ["once", "session", "always", "deny"]})
                elif not self._can_approve:
                    await self._deny(next(iter(approvals)))
        return end

    def _ended(self, run: Run) -> LaneEnd | None:
        """The end that a run's status tells, its text completed; None while it goes on."""
        usage = _usage(run.get("usage"))
        match run.get("status"):
            case "completed":
                rest = missing(self._live.turn.lanes[self._index].text, str(run.get("output") or ""))
                if rest:
                    self._note("lane.text", text=rest)
                return LaneEnd(usage=usage)
            case "failed":
                return LaneEnd("error", usage, str(run.get("error") or "the agent does not say why"))
            case "cancelled":
                return LaneEnd("error", usage, "the run was stopped on the peer")
        return None

    def _note(self, name: str, **data: Any) -> None:
        self._live.note(name, self._index, **data)


def missing(text: str, output: str) -> str:
    """What of a run's final `output` is not at the end of the text that was streamed.

    The text may hold more than the output, since an agent streams what it says between tools too; the output is
    stripped of the white space around it.
    """
    said = text.rstrip()
    at = _overlap(said, output)
    if at < len(said):
        return output[len(said) - at :].removeprefix(text[len(said) :])
    return f"\n\n{output}" if said and output else output


def _overlap(said: str, output: str) -> int:
    """Where the longest end of `said` begins that `output` begins with; its length where there is none."""
    at = max(0, len(said) - len(output))
    probe = output[:_PROBE]
    while output and (at := said.find(probe, at)) >= 0:
        if output.startswith(said[at:]):
            return at
        at += 1
    for size in range(min(_PROBE - 1, len(said), len(output)), 0, -1):
        if said.endswith(output[:size]):
            return len(said) - size
    return len(said)


def _progress(event: dict[str, Any]) -> dict[str, Any]:
    """A run's tool event in the words of `hermes.tool.progress`."""
    is_started = event["event"] == "tool.started"
    told = {"tool": event.get("tool"), "status": "running" if is_started else "completed"}
    if event.get("preview") is not None:
        told["label"] = event["preview"]
    return {**told, **{name: event[name] for name in ("duration", "error") if name in event}}


def _usage(usage: object) -> dict[str, Any] | None:
    """A run's token counts under the names of chat completions."""
    if not isinstance(usage, dict):
        return None
    return {
        "prompt_tokens": usage.get("input_tokens", 0),
        "completion_tokens": usage.get("output_tokens", 0),
        "total_tokens": usage.get("total_tokens", 0),
    }
