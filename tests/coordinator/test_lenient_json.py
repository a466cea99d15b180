"""What agents write that strict readers refuse, and what would make the journal unwritable."""

import orjson
import pytest
from coordinator.stage import Stage, streaming
from switchboard_coordinator.lenient_json import loads

HALF = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"cut \\ud83d"},"finish_reason":null}]}\n\n'
LAST = b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
DONE = b"data: [DONE]\n\n"


def test_half_a_character_becomes_a_question_mark_and_the_rest_stays() -> None:
    assert loads(b'{"a": ["x\\ud83d", {"\\ude00": 1}], "b": "\\ud83d\\ude00"}') == {
        "a": ["x?", {"?": 1}],
        "b": "\U0001f600",
    }


@pytest.mark.parametrize("data", [b"", b"{", b"nonsense"])
def test_what_is_no_json_is_none_here_either(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(data)


def test_everything_that_is_read_can_be_written() -> None:
    assert orjson.dumps(loads(b'["\\udead", 123456789012345678901234567890]'))


async def test_a_turn_with_half_a_character_is_journalled_and_the_next_one_too(stage: Stage) -> None:
    await stage.odd("odd", streaming(HALF, LAST, DONE))
    await stage.machine("nas")
    await stage.start()
    heard = await stage.hear("odd", "hi")
    assert heard.frames == [HALF, LAST, DONE]
    told = await stage.client.get(f"/api/turns/{heard.headers['x-switchboard-turn']}")
    assert told.json()["lanes"][0]["text"] == "cut ?"
    assert (await stage.ask("nas", "hi")).status_code == 200
