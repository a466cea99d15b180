"""Every mode over loopback: mock agents, real proxies, real streams."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from coordinator.keyring import give
from coordinator.stage import OddPeer, Stage, question
from switchboard_coordinator.command import ask
from waiting import until

if TYPE_CHECKING:
    from switchboard_coordinator.command.lane_printer import Piece

STREAMED = pytest.mark.parametrize("stream", [True, False])
CHOICES = {"answers": "choices"}


async def told(stage: Stage, stream: bool, model: str, text: str, **more: Any) -> tuple[list[str], dict[str, Any]]:
    """The text of every choice, and the summary; the same, streamed or not."""
    if stream:
        heard = await stage.hear(model, text, **more)
        assert heard.is_whole, heard.chunks[-1]
        last: dict[str, Any] = heard.chunks[-1]
        count = 1 + max(choice["index"] for chunk in heard.chunks for choice in chunk.get("choices", ()))
        return [heard.text_of(choice) for choice in range(count)], last
    answer = await stage.ask(model, text, **more)
    assert answer.status_code == 200, answer.text
    whole: dict[str, Any] = answer.json()
    return [choice["message"]["content"] for choice in whole["choices"]], whole


def lanes(summary: dict[str, Any]) -> list[tuple[str, str]]:
    return [(lane["address"], lane["state"]) for lane in summary["switchboard"]["lanes"]]


async def two_and_a_mute(stage: Stage) -> OddPeer:
    """nas and laptop answer; mute takes turns and never does."""
    await stage.machine("nas")
    await stage.machine("laptop")
    mute = await stage.odd("mute", is_mute=True)
    await stage.start()
    return mute


@STREAMED
async def test_any_asks_one_that_is_up_though_another_stands_first(stage: Stage, stream: bool) -> None:
    stage.peer("tower", 9)
    agent = await stage.machine("nas")
    await stage.start()
    texts, _ = await told(stage, stream, "any@fleet", "ping")
    assert texts == ["[nas] echo: ping"]
    assert len(agent.turns) == 1


@STREAMED
async def test_any_tells_the_true_error_where_all_are_down(stage: Stage, stream: bool) -> None:
    stage.peer("tower", 9)
    stage.peer("laptop", 10)
    await stage.start()
    answer = await stage.ask("any@fleet", "ping", stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "peer_unavailable")
    assert answer.headers["x-switchboard-started"] == "no"


@STREAMED
async def test_of_a_race_the_first_text_is_the_answer_and_the_rest_is_cancelled(stage: Stage, stream: bool) -> None:
    await stage.machine("nas")
    mute = await stage.odd("mute", is_mute=True)
    await stage.start()
    texts, last = await told(stage, stream, "first@fleet", "ping")
    assert texts == ["[nas] echo: ping"]
    assert lanes(last) == [("default@nas", "done"), ("default@mute", "cancelled")]
    assert mute.turns <= 1
    assert last["usage"] == last["switchboard"]["lanes"][0]["usage"]


async def test_who_lost_a_race_is_interrupted(stage: Stage) -> None:
    agents = [await stage.machine(name) for name in ("nas", "laptop")]
    await stage.start()
    async with stage.stream("first@fleet", "!!delay=0.01 !!repeat=50 tick") as answer:
        text = (await answer.aread()).decode()
    assert ("[nas]" in text) != ("[laptop]" in text), "one lane's text, and no word of the other's"
    await until(lambda: all(agent.turns[0].state != "running" for agent in agents), seconds=5)
    assert sorted(agent.turns[0].state for agent in agents) == ["finished", "interrupted"]


@STREAMED
async def test_a_quorum_does_not_wait_for_the_rest(stage: Stage, stream: bool) -> None:
    await two_and_a_mute(stage)
    texts, last = await told(stage, stream, "quorum@fleet", "ping")
    for words in ("[nas] echo: ping", "[laptop] echo: ping", "### default@mute\n\n[cancelled: quorum_reached]"):
        assert words in texts[0]
    assert lanes(last) == [("default@nas", "done"), ("default@laptop", "done"), ("default@mute", "cancelled")]
    assert last["switchboard"]["quorum"] == 2


async def test_a_quorum_that_cannot_be_is_refused_and_one_that_was_missed_is_an_error(stage: Stage) -> None:
    await stage.machine("nas")
    stage.peer("tower", 9)
    await stage.start()
    answer = await stage.ask("quorum@fleet", "ping", switchboard={"quorum": 3})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "switchboard.quorum")
    answer = await stage.ask("quorum@fleet", "ping", switchboard={"quorum": 2})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "quorum_missed")
    texts, _ = await told(stage, False, "quorum@fleet", "ping", switchboard={"quorum": 1})
    assert "[nas] echo: ping" in texts[0]


@STREAMED
@pytest.mark.parametrize("answers", ["sections", "choices"])
async def test_a_councils_chair_is_given_every_answer_and_its_reply_is_the_answer(
    stage: Stage, stream: bool, answers: str
) -> None:
    await stage.machine("nas")
    agent = await stage.machine("laptop")
    stage.peer("tower", 9)
    await stage.start()
    options = {"chair": "laptop", "answers": answers}
    texts, last = await told(stage, stream, "council@fleet", "ping", switchboard=options)
    assert texts[0].startswith("[laptop] echo: Several agents")
    for words in (
        "<question>\nping\n</question>",
        '<answer from="default@nas">\n[nas] echo: ping\n</answer>',
        '<answer from="default@laptop">\n[laptop] echo: ping\n</answer>',
        "- default@tower: failed (tower takes no connection",
    ):
        assert words in texts[0]
    if answers == "choices":
        assert texts[1:3] == ["[nas] echo: ping", "[laptop] echo: ping"]
        assert texts[3].startswith("default@tower: [failed: peer_unavailable]")
    else:
        assert len(texts) == 1
    assert [state for _, state in lanes(last)] == ["done", "done", "failed", "done"]
    assert last["switchboard"]["chair"] == 3
    usages = [lane["usage"] or {} for lane in last["switchboard"]["lanes"]]
    assert last["usage"]["total_tokens"] == sum(usage.get("total_tokens", 0) for usage in usages) > 0
    assert len(agent.turns) == 2


@STREAMED
async def test_a_council_of_which_nobody_answered_asks_no_chair(stage: Stage, stream: bool) -> None:
    agent = await stage.machine("nas", capabilities=["home"])
    stage.peer("tower", 9, profiles={"default": {"capabilities": ["away"]}})
    await stage.start()
    answer = await stage.ask("council@away", "ping", stream=stream, switchboard={"chair": "nas"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "peer_unavailable")
    assert agent.turns == []


async def test_a_council_that_is_cancelled_before_its_chair_was_asked_comes_to_its_end(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    begun = (await stage.begin("council@fleet", "!!delay=0.05 !!repeat=1000 tick")).json()
    await until(lambda: bool(agent.turns), seconds=5)
    await stage.client.post(f"/api/turns/{begun['id']}/cancel", json={"lane": 1})
    await stage.client.post(f"/api/turns/{begun['id']}/cancel", json={})
    ended = await stage.ended(begun["id"])
    assert ended["state"] == "cancelled"
    assert [lane["state"] for lane in ended["lanes"]] == ["cancelled", "cancelled"]
    assert len(agent.turns) == 1


async def test_a_chair_that_was_cancelled_alone_is_not_asked_when_the_others_are_done(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    begun = (await stage.begin("council@fleet", "!!silence=0.3 tick")).json()
    await until(lambda: bool(agent.turns), seconds=5)
    await stage.client.post(f"/api/turns/{begun['id']}/cancel", json={"lane": 1})
    ended = await stage.ended(begun["id"])
    assert ended["state"] == "cancelled"
    assert [lane["state"] for lane in ended["lanes"]] == ["done", "cancelled"]
    assert len(agent.turns) == 1


async def test_a_chat_client_is_told_that_an_approval_was_denied_for_it(stage: Stage) -> None:
    await stage.machine("nas", transport="runs")
    await stage.start()
    heard = await stage.hear("nas", "!!approve=make ready")
    assert heard.is_whole
    assert "[approval denied: the agent asked for leave to run `make`, which a chat client cannot give" in heard.text


async def test_a_request_may_name_a_chair_that_its_key_may_ask_and_no_other(stage: Stage) -> None:
    await stage.machine("nas", capabilities=["home"])
    agent = await stage.machine("tower")
    key = give(stage, "you", "council@home", "default@nas")
    await stage.start()
    async with stage.client_of(key) as client:

        async def status(chair: str) -> int:
            body = question("council@home", "ping", switchboard={"chair": chair})
            return (await client.post("/v1/chat/completions", json=body)).status_code

        assert [await status(chair) for chair in ("nas", "tower")] == [200, 403]
    assert agent.turns == []


@pytest.mark.parametrize(
    ("model", "headings", "words"),
    [
        ("any@fleet", [], "[nas] echo: ping"),
        ("first@fleet", [], "[nas] echo: ping"),
        ("quorum@fleet", ["default@laptop", "default@nas", "default@tower"], "[laptop] echo: ping"),
        ("council@fleet", [], "] echo: Several agents"),
    ],
)
async def test_the_command_shows_who_speaks_where_several_do(
    stage: Stage, model: str, headings: list[str], words: str
) -> None:
    await stage.machine("nas")
    if model != "first@fleet":  # else chance says who wins
        await stage.machine("laptop")
    stage.peer("tower", 9)
    await stage.start()
    shown: list[tuple[str, bool]] = []

    def show(pieces: "list[Piece]") -> None:
        shown.extend((piece.text, piece.is_heading) for piece in pieces)

    await asyncio.to_thread(ask.Coordinator(stage.url, stage.key).ask, "ping", model, show)
    assert sorted(text.strip() for text, is_heading in shown if is_heading) == headings
    assert words in "".join(text for text, _ in shown)
