"""What the edge lets through: keys, scopes and rates, and what it notes of those that it does not."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from doubles.serving import serving
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from switchboard_coordinator.address import Address, Group
from switchboard_coordinator.database import open_database
from switchboard_coordinator.errors import SwitchboardError
from switchboard_coordinator.keys import keys
from switchboard_coordinator.keys.asked import Asked
from switchboard_coordinator.keys.audit import Audit
from switchboard_coordinator.keys.consumers import Consumers
from switchboard_coordinator.keys.keys import Grant
from switchboard_coordinator.keys.scopes import ADMIN, ASKING, CANCEL_OTHERS, Right, Scopes, raw
from switchboard_coordinator.surfaces.audit_surface import AuditSurface
from switchboard_coordinator.surfaces.edge import Edge, error_response

NEEDED: dict[str, Address | Group | Right] = {
    "nas": Address("default", "nas"),
    "gpu": Group("any", "gpu"),
    "raw": raw("nas"),
    "cancel": CANCEL_OTHERS,
    "admin": ADMIN,
}


async def _needs(request: Request) -> Response:
    asked = Asked.of(request.scope)
    asked.require(NEEDED[request.path_params["what"]])
    return JSONResponse({"consumer": asked.consumer, "moves": asked.who.moves})


async def _turn(request: Request) -> Response:
    asked = Asked.of(request.scope)
    asked.count_turn()
    asked.note("session.move", "s1 from default@nas to default@laptop")
    return JSONResponse({})


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, SwitchboardError)
    return error_response(request.scope, error)


@dataclass
class Door:
    """An app behind the edge, and a database with keys."""

    client: httpx.AsyncClient
    engine: AsyncEngine
    consumers: Consumers
    audit: Audit

    async def give(self, name: str, *scopes: str, rate: int | None = None) -> dict[str, str]:
        """A key of this consumer, as headers."""
        grant, key = Grant(Scopes.parse(scopes) if scopes else ASKING, turns_per_minute=rate), f"sk-{name}"
        now = time.time()
        async with self.engine.begin() as connection:
            await connection.run_sync(lambda sync: keys.add(sync, name, grant, key, actor="uid:0", now=now))
        await self.consumers.open(self.engine)
        return {"authorization": f"Bearer {key}"}

    async def revoke(self, name: str) -> None:
        async with self.engine.begin() as connection:
            await connection.run_sync(lambda sync: keys.revoke(sync, name, actor="uid:0", now=time.time()))
        await self.consumers.open(self.engine)

    async def write(self) -> None:
        """Put what was noted into the database."""
        keeping = asyncio.create_task(self.audit.keep(self.engine))
        await asyncio.sleep(0)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    def noted(self) -> list[tuple[Any, ...]]:
        """What waits to be written, and how often it happened."""
        return [(*thing, times.count) for thing, times in self.audit._held.items()]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    engine = open_database(tmp_path / "switchboard.db")
    consumers, audit = Consumers({}), Audit()
    app = Starlette(
        routes=[
            Route("/v1/needs/{what}", _needs),
            Route("/api/needs/{what}", _needs),
            Route("/v1/turn", _turn),
            Route("/api/audit", AuditSurface(audit).page),
            Route("/healthz", _needs_nothing),
        ],
        middleware=[Middleware(Edge, consumers=consumers, audit=audit)],
        exception_handlers={SwitchboardError: _told},
    )
    async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        yield Door(client, engine, consumers, audit)
    await engine.dispose()


async def _needs_nothing(request: Request) -> Response:
    asked = Asked.of(request.scope)
    return JSONResponse({"may": [name for name, needed in NEEDED.items() if asked.who.scopes.allows(needed)]})


async def test_a_key_is_let_to_what_it_is_good_for_and_told_what_is_missing(door: Door) -> None:
    me = await door.give("me", "default@nas", "raw:nas")
    for what in ("nas", "raw"):
        answer = await door.client.get(f"/v1/needs/{what}", headers=me)
        assert answer.json() == {"consumer": "me", "moves": "ask"}
    for what in ("gpu", "cancel", "admin"):
        answer = await door.client.get(f"/v1/needs/{what}", headers=me)
        assert answer.status_code == 403
        told = answer.json()["error"]
        assert told == {
            "message": f"this key lacks the scope {NEEDED[what]}; it has default@nas raw:nas",
            "type": "invalid_request_error",
            "param": None,
            "code": "insufficient_scope",
        }
        problem = (await door.client.get(f"/api/needs/{what}", headers=me)).json()
        assert (problem["status"], problem["code"]) == (403, "insufficient_scope")
    assert door.noted() == [
        ("me", "request", "any@gpu", "insufficient_scope", 2),
        ("me", "request", "cancel-others", "insufficient_scope", 2),
        ("me", "request", "admin", "insufficient_scope", 2),
    ]


async def test_who_needs_no_key_may_nothing_else(door: Door) -> None:
    assert (await door.client.get("/healthz")).json() == {"may": []}
    assert door.noted() == []


async def test_the_rate_of_a_key_is_told_and_kept(door: Door) -> None:
    me, you = await door.give("me", rate=2), await door.give("you")
    answers = [await door.client.get("/v1/turn", headers=me) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    for answer, remaining in zip(answers, ("1", "0", "0"), strict=True):
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == remaining
        assert answer.headers["x-ratelimit-reset-requests"] in ("30s", "60s")
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert answers[2].json()["error"]["type"] == "rate_limit_error"
    assert answers[2].headers["x-switchboard-started"] == "no"
    unlimited = await door.client.get("/v1/turn", headers=you)
    assert unlimited.status_code == 200
    assert not [name for name in unlimited.headers if name.startswith("x-ratelimit")]
    assert ("me", "request", "turn", "rate_limit_exceeded", 1) in door.noted()
    assert ("you", "session.move", "s1 from default@nas to default@laptop", "done", 1) in door.noted()


async def test_a_flood_of_wrong_keys_is_counted_under_its_address(door: Door) -> None:
    me = await door.give("me")
    await door.revoke("me")
    for number in range(30):
        answer = await door.client.get("/v1/turn", headers={"authorization": f"Bearer sk-{number}"})
        assert answer.status_code == 401
    assert (await door.client.get("/v1/turn")).json()["error"]["message"].startswith("no key")
    assert (await door.client.get("/v1/turn", headers=me)).json()["error"]["message"] == "this key was revoked"
    assert door.noted() == [
        ("", "authenticate", "127.0.0.1", "invalid_api_key", 30),
        ("", "authenticate", "127.0.0.1", "no_key", 1),
        ("me", "authenticate", "127.0.0.1", "key_revoked", 1),
    ]


async def test_the_audit_log_is_shown_to_admins_in_pages(door: Door) -> None:
    admin, me = await door.give("boss", "admin"), await door.give("me")
    await door.write()
    assert (await door.client.get("/api/audit", headers=me)).status_code == 403
    page = (await door.client.get("/api/audit", headers=admin, params={"limit": 1})).json()
    (entry,) = page["entries"]
    assert (entry["actor"], entry["action"], entry["outcome"], entry["count"]) == ("uid:0", "key.add", "done", 1)
    assert entry["subject"].startswith("me key_")
    assert page["next"] == entry["id"]
    rest = (await door.client.get("/api/audit", headers=admin, params={"before": page["next"]})).json()
    assert [entry["subject"].split()[0] for entry in rest["entries"]] == ["boss"]
    assert rest["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "before=-1", "before=", "before=" + "9" * 19])
async def test_a_page_that_is_none_is_refused(door: Door, query: str) -> None:
    admin = await door.give("boss", "admin")
    answer = await door.client.get(f"/api/audit?{query}", headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
