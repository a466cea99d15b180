"""The coordinator dies by SIGKILL once, in the middle of four turns, and is started again on the same database."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from waiting import until

from real_agent import turns
from real_agent.stage import Stage
from real_agent.turns import Shown

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEGUN_SECONDS = 30.0
BACK_SECONDS = 7.0
"""Ten times what it takes on an idle machine; five seconds are promised."""


@dataclass
class Scene:
    """Ids of turns that were open; `seen` is what a reader of `speaking` had seen by then.

    `speaking` ended on its peer while there was no coordinator, `silent` and `asking` were open there when the next
    one came, `chat` was broken off. `seconds` is from the start of the next coordinator to the end of `speaking`.
    """

    speaking: str
    silent: str
    asking: str
    chat: str
    approval: str
    seen: list[Shown]
    precious: Path
    seconds: float = 0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(stage: Stage, client: httpx.AsyncClient) -> Scene:
    mark = uuid4().hex
    precious = stage.folder / mark
    precious.mkdir()
    deleting = f'!!tool=terminal:{{"command":"rm -rf {precious}"}} go'
    asking = await turns.begin(client, "work@nas", deleting, transport="runs")
    async with turns.reading(client, asking) as events:
        approval = (await turns.first(events, "lane.approval"))[-1].data["approval"]
    speaking = await turns.begin(client, "laptop", f"!!delay=0.1 !!repeat=3 {mark} speaking", transport="runs")
    silent = await turns.begin(client, "nas", f"!!silence=6 {mark} silent", transport="runs")
    chat = await turns.begin(client, "nas", f"!!delay=0.1 !!repeat=100 {mark} chat", transport="chat")
    await until(lambda: bool(stage.model.turns("nas", "default", f"{mark} silent")), seconds=BEGUN_SECONDS)
    async with turns.reading(client, chat) as events:
        for _ in range(10):  # 0.1 s apart: text is in the journal 0.25 s after it is shown
            await turns.first(events, "lane.text")
    async with turns.reading(client, speaking) as events:
        seen = await turns.first(events, "lane.text")
    scene = Scene(speaking, silent, asking, chat, approval, seen, precious)
    async with stage.switchboard.killed("coordinator"):
        (asked,) = stage.model.turns("laptop", "default", mark)
        await until(lambda: asked.outcome == "finished", seconds=BEGUN_SECONDS)
    began = asyncio.get_running_loop().time()
    await turns.ended(client, speaking)
    scene.seconds = asyncio.get_running_loop().time() - began
    return scene


async def test_a_run_that_ended_meanwhile_can_be_read_soon_after_the_start(
    client: httpx.AsyncClient, scene: Scene
) -> None:
    ended = await turns.told(client, scene.speaking)

    assert scene.seconds < BACK_SECONDS
    assert ended["state"] == "done"
    assert ended["lanes"][0]["text"] == f"[laptop] echo: {' '.join([f'{scene.precious.name} speaking'] * 3)}"
    assert ended["usage"]["total_tokens"] > 0


async def test_a_reader_from_before_gets_one_snapshot_and_the_end(client: httpx.AsyncClient, scene: Scene) -> None:
    rest = await turns.read(client, scene.speaking, after=scene.seen[-1].cursor)

    assert [event.name for event in rest if event.name == "turn.snapshot"] == [rest[0].name]
    assert rest[-1].name == "turn.done"
    (lane,) = rest[0].data["lanes"]
    whole = (await turns.told(client, scene.speaking))["lanes"][0]["text"]
    assert lane["text"] + turns.text_of(rest) == whole
    assert whole.startswith(turns.text_of(scene.seen))


async def test_its_next_cursor_needs_no_snapshot(client: httpx.AsyncClient, scene: Scene) -> None:
    rest = await turns.read(client, scene.speaking, after=scene.seen[-1].cursor)

    again = await turns.read(client, scene.speaking, after=rest[0].cursor)

    assert again == rest[1:]


async def test_a_run_that_was_silent_all_the_while_comes_to_its_end(client: httpx.AsyncClient, scene: Scene) -> None:
    ended = await turns.ended(client, scene.silent)

    assert ended["state"] == "done"
    assert ended["lanes"][0]["text"] == f"[nas] echo: {scene.precious.name} silent"


async def test_an_approval_that_was_asked_before_can_be_answered(
    stage: Stage, client: httpx.AsyncClient, scene: Scene
) -> None:
    (waiting,) = (await turns.told(client, scene.asking))["lanes"][0]["approvals"]
    answer = await client.post(f"/api/turns/{scene.asking}/approvals/{scene.approval}", json={"choice": "once"})
    ended = await turns.ended(client, scene.asking)

    assert waiting["approval"] == scene.approval
    assert answer.status_code == 200
    assert (ended["state"], ended["lanes"][0]["text"].strip()) == ("done", "[nas/work] echo: go")
    assert not list(stage.folder.glob(scene.precious.name))


async def test_a_chat_is_interrupted_with_what_it_had(client: httpx.AsyncClient, scene: Scene) -> None:
    ended = await turns.ended(client, scene.chat)

    assert (ended["state"], ended["code"]) == ("interrupted", "peer_outcome_unknown")
    (lane,) = ended["lanes"]
    assert lane["attempts"] == 1
    assert lane["text"].startswith("[nas] ec")
    events = await turns.read(client, scene.chat)
    assert events[-1].name == "turn.interrupted"
