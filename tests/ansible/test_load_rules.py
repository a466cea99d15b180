"""What the steady load sends again, and what it does not: against a coordinator that answers as it is told."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from ansible.judge import Record
from ansible.load import Load
from waiting import until

EVENTS = (
    {"id": 1, "event": "turn.accepted", "lanes": ["default@nas"]},
    {"id": 2, "event": "lane.text", "lane": 0, "address": "default@nas", "text": "[nas] "},
    {"id": 3, "event": "lane.done", "lane": 0, "address": "default@nas"},
    {"id": 4, "event": "turn.done"},
)
NOT_STARTED = {"id": 2, "event": "turn.failed", "code": "peer_unavailable", "started": "no"}
UNKNOWN = {"id": 2, "event": "turn.interrupted", "code": "peer_outcome_unknown", "started": "unknown"}

Answer = tuple[int, dict[str, str], dict[str, Any]] | None
"""Status, headers and body; None hangs up without a word."""

TAKEN: Answer = (202, {}, {"id": "turn_1"})


class Scripted:
    """Answers POSTs and readers of events in turn; a reader's connection breaks behind what it is given."""

    def __init__(self, posts: Sequence[Answer], reads: Sequence[Sequence[dict[str, Any]]] = (EVENTS,)) -> None:
        self._posts, self._reads = list(posts), list(reads)
        self.keys: list[str] = []
        self.cursors: list[str | None] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/api/turns", self._begin)
        app.router.add_get("/api/turns/{id}/events", self._events)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _begin(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers["idempotency-key"])
        answer = self._posts.pop(0)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, headers, body = answer
        return web.json_response(body, status=status, headers=headers)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.cursors.append(request.headers.get("last-event-id"))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in self._reads.pop(0):
            await response.write(f": keepalive\n\nid: {event['id']}\ndata: {json.dumps(event)}\n\n".encode())
        assert request.transport is not None
        request.transport.close()
        return response


async def lived(coordinator: Scripted) -> Record:
    """One turn."""
    async with coordinator.serving() as url:
        load = Load(url, "a-key-of-a-consumer", to=["nas"], per_second=0.001, patience_seconds=60)
        async with load:
            await until(lambda: len(load.records) == 1, seconds=10)
    (record,) = load.records
    return record


async def test_a_stream_that_breaks_is_read_on_behind_its_last_event() -> None:
    coordinator = Scripted([TAKEN], [EVENTS[:2], EVENTS[2:]])
    record = await lived(coordinator)
    assert coordinator.cursors == [None, "2"]
    assert (record.state, record.faults, record.reconnects) == ("done", [], 1)
    assert record.lanes[0].text == "[nas] "


async def test_an_event_that_comes_twice_is_a_fault() -> None:
    record = await lived(Scripted([TAKEN], [EVENTS[:2], EVENTS[1:]]))
    assert record.faults == ["event 2 came behind event 2"]


async def test_where_no_answer_came_the_same_request_goes_under_the_same_key() -> None:
    coordinator = Scripted([None, None, (200, {}, {"id": "turn_1"})])
    record = await lived(coordinator)
    assert len(coordinator.keys) == 3
    assert len(set(coordinator.keys)) == 1
    assert (record.state, record.repeats, record.resends, record.faults) == ("done", 2, [], [])


async def test_what_says_that_nothing_started_is_sent_again_after_the_time_that_it_names() -> None:
    head = {"x-switchboard-started": "no", "retry-after": "0"}
    refusals: list[Answer] = [
        (503, head, {"code": "journal_unavailable"}),
        (429, head, {"code": "rate_limit_exceeded"}),
    ]
    coordinator = Scripted([*refusals, TAKEN])
    record = await lived(coordinator)
    assert record.resends == ["503 journal_unavailable", "429 rate_limit_exceeded"]
    assert (record.state, len(set(coordinator.keys))) == ("done", 1)


async def test_a_turn_that_ended_without_having_started_is_asked_as_a_new_one() -> None:
    coordinator = Scripted([TAKEN, (202, {}, {"id": "turn_2"})], [[EVENTS[0], NOT_STARTED], EVENTS])
    record = await lived(coordinator)
    assert (record.state, record.turns) == ("done", ["turn_1", "turn_2"])
    assert record.resends == ["turn ended as peer_unavailable"]
    assert len(set(coordinator.keys)) == 2


async def test_a_turn_that_may_have_run_is_never_sent_again() -> None:
    coordinator = Scripted([TAKEN], [[EVENTS[0], UNKNOWN]])
    record = await lived(coordinator)
    assert (record.state, record.code) == ("interrupted", "peer_outcome_unknown")
    assert len(coordinator.keys) == 1


async def test_a_refusal_that_does_not_say_that_nothing_started_is_the_end() -> None:
    coordinator = Scripted([(503, {"x-switchboard-started": "unknown"}, {"code": "internal_error"})])
    record = await lived(coordinator)
    assert (record.state, record.code, len(coordinator.keys)) == ("refused", "503 internal_error", 1)


async def test_a_first_request_that_joins_a_turn_is_a_fault() -> None:
    record = await lived(Scripted([(200, {}, {"id": "turn_1"})]))
    assert record.faults == ["it was asked for the first time and joined a turn"]
