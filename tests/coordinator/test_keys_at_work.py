"""Keys of a running coordinator: given, bounded, rated and revoked by the command, over loopback."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from coordinator.stage import Stage, question
from waiting import until

PROGRAM = Path(sys.executable).parent / "switchboard"
REVOKED_WITHIN_SECONDS = 2.0


async def command(stage: Stage, *words: str) -> str:
    """What `switchboard keys …` prints, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "keys", *words, "--database", str(stage.folder / "switchboard.db"), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()


async def given(stage: Stage, *words: str) -> str:
    """A new key, once the coordinator knows it."""
    key = await command(stage, "add", *words)

    async def is_known() -> bool:
        async with stage.client_of(key) as client:
            return (await client.get("/v1/models")).status_code == 200

    await until(is_known, seconds=10 * REVOKED_WITHIN_SECONDS)
    return key


async def audited(stage: Stage, admin: str) -> list[dict[str, Any]]:
    async with stage.client_of(admin) as client:
        entries: list[dict[str, Any]] = (await client.get("/api/audit")).json()["entries"]
    return entries


async def test_a_key_asks_whom_it_names_on_every_surface_and_nobody_else(stage: Stage) -> None:
    nas = await stage.machine("nas")
    laptop = await stage.machine("laptop")
    await stage.start()
    key, admin = await given(stage, "you", "--scope", "default@nas"), await given(stage, "boss", "--scope", "admin")
    async with stage.client_of(key) as client:

        async def asked(to: str) -> list[int]:
            body = {"target": to, "message": "hi"}
            answers = [
                await client.post("/v1/chat/completions", json=question(to, "hi")),
                await client.post("/api/turns", json={"to": to, "text": "hi"}),
                await client.post("/api/remote-agent/invoke", json=body),
            ]
            return [answer.status_code for answer in answers]

        assert await asked("nas") == [200, 202, 200]
        for other in ("laptop", "all@fleet", "any@fleet"):
            assert await asked(other) == [403, 403, 403]
        assert (await client.get("/api/audit")).status_code == 403
    await until(lambda: len(nas.turns) == 3, seconds=10)
    assert not laptop.turns

    async def is_audited() -> bool:
        entries = [entry for entry in await audited(stage, admin) if entry["outcome"] == "insufficient_scope"]
        subjects = {entry["subject"] for entry in entries if entry["actor"] == "you"}
        return subjects == {"default@laptop", "all@fleet", "any@fleet", "admin"}

    await until(is_audited, seconds=20)


async def test_a_rate_holds_on_every_surface_together(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    key = await given(stage, "you", "--rate", "2")
    async with stage.client_of(key) as client:
        first = await client.post("/v1/chat/completions", json=question("nas", "hi"))
        second = await client.post("/api/turns", json={"to": "nas", "text": "hi"})
        third = await client.post("/v1/chat/completions", json=question("nas", "hi", stream=True))
        fourth = await client.post("/api/turns", json={"to": "nas", "text": "hi"})
    assert [answer.status_code for answer in (first, second, third, fourth)] == [200, 202, 429, 429]
    left = [answer.headers["x-ratelimit-remaining-requests"] for answer in (first, second, third)]
    assert left == ["1", "0", "0"]
    assert 1 <= int(third.headers["retry-after"]) <= 30
    assert third.json()["error"]["code"] == fourth.json()["code"] == "rate_limit_exceeded"
    assert (await stage.ask("nas", "hi")).status_code == 200


async def test_a_revoked_key_is_refused_within_two_seconds_and_a_rotated_one_goes_on(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    key = await given(stage, "you")
    other = await command(stage, "rotate", "you")

    async def answers(key: str) -> bool:
        async with stage.client_of(key) as client:
            return (await client.get("/v1/models")).status_code == 200

    await until(lambda: answers(other), seconds=10 * REVOKED_WITHIN_SECONDS)
    assert await answers(key)
    await command(stage, "revoke", "you")
    began = time.monotonic()

    async def is_refused() -> bool:
        return not await answers(key) and not await answers(other)

    await until(is_refused, seconds=10 * REVOKED_WITHIN_SECONDS)
    took = time.monotonic() - began
    print(f"revoked: refused {took:.2f} s after the command had ended")
    assert took < REVOKED_WITHIN_SECONDS
    assert await answers(stage.key)


async def test_an_expired_key_is_refused(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    key = await command(stage, "add", "you", "--expires", "1s")

    async def told() -> str:
        async with stage.client_of(key) as client:
            answer = await client.get("/v1/models")
            return str(answer.json()["error"]["message"]) if answer.status_code == 401 else ""

    async def is_told() -> bool:
        return await told() == "this key has expired"

    await until(is_told, seconds=20)
