from uuid import uuid4

import httpx
import pytest

from real_agent import turns
from real_agent.asking import ask
from real_agent.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

CAT = "my cat is Ada"
MOVE = {"x-switchboard-move": "yes"}
RUNS = {"x-switchboard-transport": "runs"}


@pytest.mark.parametrize("transport", ["chat", "runs"])
async def test_a_session_moves_with_its_context_when_that_is_said(client: httpx.AsyncClient, transport: str) -> None:
    session = {"x-hermes-session-id": uuid4().hex, "x-switchboard-transport": transport}
    first = await ask(client, "nas", CAT, headers=session)
    unsaid = await ask(client, "laptop", "!!history", headers=session)
    moved = await ask(client, "laptop", "!!history", headers=session | MOVE)
    left = await ask(client, "nas", "!!history", headers=session)

    assert (unsaid.status_code, unsaid.json()["error"]["code"]) == (409, "session_peer_mismatch")
    assert unsaid.headers["x-switchboard-started"] == "no"
    assert "default@nas" in unsaid.json()["error"]["message"]
    assert [answer.headers["x-switchboard-affinity"] for answer in (first, moved)] == ["miss", "moved"]
    assert _said(moved).startswith("[laptop] ")
    assert CAT in _said(moved)
    assert left.json()["error"]["code"] == "session_peer_mismatch", "it has moved"


async def test_what_was_said_with_runs_at_the_new_home_is_not_all_that_a_chat_there_knows(
    client: httpx.AsyncClient,
) -> None:
    """Of the history that comes with a run a real agent stores nothing."""
    session = {"x-hermes-session-id": uuid4().hex}
    await ask(client, "nas", CAT, headers=session)
    await ask(client, "laptop", "and my dog is Bob", headers=session | MOVE | RUNS)

    told = await ask(client, "laptop", "tell me more", headers=session)
    history = turns.history(await ask(client, "laptop", "!!history", headers=session))

    assert CAT in _said(told)
    assert "Bob" not in _said(told), "its agent has stored that itself"
    assert [said[:22] for role, said in history if role == "user"] == ["and my dog is Bob", "[This conversation wen"]


async def test_who_comes_home_is_told_what_it_missed_and_no_more(client: httpx.AsyncClient) -> None:
    session = {"x-hermes-session-id": uuid4().hex}
    await ask(client, "nas", CAT, headers=session)
    await ask(client, "laptop", "and my dog is Bob", headers=session | MOVE | RUNS)

    back = await ask(client, "nas", "tell me more", headers=session | MOVE)

    assert "user: and my dog is Bob" in _said(back)
    assert CAT not in _said(back)


@pytest.mark.parametrize("transport", ["chat", "runs"])
async def test_two_consumers_with_one_session_id_never_see_each_others_history(
    stage: Stage, client: httpx.AsyncClient, transport: str
) -> None:
    session = {"x-hermes-session-id": uuid4().hex, "x-switchboard-transport": transport}
    async with stage.switchboard.client_of_you() as you:
        mine = await ask(client, "nas", CAT, headers=session)
        before = await ask(you, "nas", "!!history", headers=session)
        await ask(you, "nas", "my dog is Bob", headers=session)
        yours = await ask(you, "nas", "!!history", headers=session)
        elsewhere = await ask(you, "laptop", "!!history", headers=session | MOVE)
    still_mine = await ask(client, "nas", "!!history", headers=session)

    assert {answer.headers["x-hermes-session-id"] for answer in (mine, yours)} == {session["x-hermes-session-id"]}
    assert turns.history(before) == []
    assert "Bob" in _said(yours)
    assert "Ada" not in _said(yours)
    assert "Bob" in _said(elsewhere)
    assert "Ada" not in _said(elsewhere)
    assert turns.history(still_mine) == [["user", CAT], ["assistant", f"[nas] echo: {CAT}"]], "and it never moved"


def _said(answer: httpx.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])
