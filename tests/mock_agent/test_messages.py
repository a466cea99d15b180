"""What the agent takes of a client's messages, and what it refuses."""

from typing import Any

import pytest
from switchboard_mock_agent.messages import Refused, asked, content, run_input


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"type": "image_url", "image_url": {"url": " "}}, "invalid_image_url"),
        ({"type": "image_url"}, "invalid_image_url"),
        ({"type": "input_image", "image_url": "file:///x.png"}, "invalid_image_url"),
        ({"type": "input_image", "image_url": "data:text/html,x"}, "unsupported_content_type"),
        ({"type": "input_image", "image_url": "data:image/png"}, "unsupported_content_type"),
        ({"type": "file"}, "unsupported_content_type"),
        ({"type": "audio"}, "unsupported_content_type"),
    ],
)
def test_a_part_that_is_not_taken_is_refused_with_its_place_and_a_code(part: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        content([part], param="messages[3].content")
    assert (refused.value.error["param"], refused.value.error["code"]) == ("messages[3].content", code)


def test_an_image_alone_is_something_to_answer() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}
    told = asked([{"role": "user", "content": [image]}])
    assert (told.text, told.content) == (
        "",
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}],
    )


def test_the_last_message_of_either_side_is_what_is_asked() -> None:
    told = asked([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}])
    assert (told.text, told.history) == ("two", [{"role": "user", "content": "one"}])


def test_of_a_list_the_earlier_messages_are_a_runs_history_unless_it_has_one() -> None:
    given = [{"role": "user", "content": "one"}, {"role": "user", "content": [{"type": "text", "text": "two"}]}]
    assert run_input({"input": given}) == ("two", given[:1])
    other = [{"role": "user", "content": "zero"}]
    assert run_input({"input": given, "conversation_history": other}) == ("two", other)


@pytest.mark.parametrize("history", ["x", [1], [{"role": "user"}]])
def test_a_history_that_is_none_is_refused(history: Any) -> None:
    with pytest.raises(Refused, match="conversation_history"):
        run_input({"input": "x", "conversation_history": history})
