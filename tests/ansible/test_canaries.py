"""The search for secrets finds them; a search that cannot find proves nothing."""

import asyncio
import base64
import os
import sys

import pytest
from ansible.canaries import Canaries, Processes, of_vault
from waiting import until

SECRET = "Vq3_secret-of-32-characters-7Zk0"


@pytest.mark.parametrize("before", ["", ":", "coordinator:", "hermes:", "ab", "user-of-another-length:"])
@pytest.mark.parametrize("after", ["", "\n", "xy"])
def test_a_secret_is_found_plain_and_in_base64(before: str, after: str) -> None:
    told = f"{before}{SECRET}{after}".encode()
    canaries = Canaries([SECRET])
    for text in (told, base64.b64encode(told), base64.urlsafe_b64encode(told)):
        assert canaries.are_in(b"Authorization: Basic " + text)


def test_what_holds_no_secret_is_left_alone() -> None:
    assert not Canaries([SECRET]).are_in(SECRET[:-1] + base64.b64encode(SECRET[:-1].encode()).decode())


def test_every_secret_of_a_vault_is_known() -> None:
    vault = {"vault_peers": {"nas": {"basic_password": "a", "api_server_keys": {"default": "b"}}}, "vault_key": "c"}
    assert list(of_vault(vault)) == ["a", "b", "c"]


@pytest.mark.parametrize("where", ["cmdline", "environ"])
async def test_a_secret_that_a_process_shows_is_seen(where: str) -> None:
    arguments = [SECRET] if where == "cmdline" else []
    env = {**os.environ, "SECRET": SECRET} if where == "environ" else None
    with Processes(Canaries([SECRET])) as processes:
        showing = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "input()", *arguments), stdin=asyncio.subprocess.PIPE, env=env
        )
        try:
            await until(lambda: processes.with_a_secret == {f"{sys.executable} {where}"}, seconds=30)
        finally:
            showing.kill()
            await showing.wait()
