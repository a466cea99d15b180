import pytest
from coordinator.stage import Stage
from switchboard_coordinator.turn import Transport

SESSION = {"x-hermes-session-id": "tale"}


async def test_what_a_run_was_given_is_told_again_over_chat(stage: Stage) -> None:
    """An agent stores a run's question and answer, and nothing of the history that came with it."""
    await _two_machines(stage)
    await _ask(stage, "nas", "first", "chat")
    await _ask(stage, "laptop", "second", "runs", moves=True)

    third = await _ask(stage, "laptop", "third", "chat")
    fourth = await _ask(stage, "laptop", "!!history", "chat")

    assert "[nas] echo: first" in third
    assert "[laptop] echo: second" not in third, "its agent holds that itself"
    assert fourth.count("[nas] echo: first") == 2, "told once, and in the third answer's echo"
    assert "went on elsewhere" not in fourth.rpartition("third")[2]


@pytest.mark.parametrize("transport", ["chat", "runs"])
async def test_who_comes_back_is_told_what_it_missed_and_no_more(stage: Stage, transport: Transport) -> None:
    await _two_machines(stage)
    await _ask(stage, "nas", "first", "chat")
    await _ask(stage, "laptop", "second", transport, moves=True)
    await _ask(stage, "nas", "third", transport, moves=True)

    history = await _ask(stage, "nas", "!!history", "runs")
    told = await _ask(stage, "nas", "fourth", "chat")

    assert [word in history for word in ("first", "second", "third")] == [True] * 3
    assert ("[laptop] echo: second" in told) == (transport == "runs"), "over chat it was told with the third question"
    assert "[nas] echo: first" not in told


async def test_a_session_that_stays_is_told_nothing(stage: Stage) -> None:
    await _two_machines(stage)
    await _ask(stage, "nas", "first", "runs")
    await _ask(stage, "nas", "second", "chat")

    assert await _ask(stage, "nas", "third", "chat") == "[nas] echo: third"


async def _two_machines(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.machine("laptop")
    await stage.start()


async def _ask(stage: Stage, to: str, text: str, transport: Transport, *, moves: bool = False) -> str:
    move = {"x-switchboard-move": "yes"} if moves else {}
    answer = await stage.ask(to, text, headers={**SESSION, **move, "x-switchboard-transport": transport})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])
