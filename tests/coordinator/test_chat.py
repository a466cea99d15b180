"""Chat requests edited in place, and what a peer's frames say."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.chat import (
    QUIET,
    ChatRequest,
    Finish,
    Text,
    Tool,
    head_of,
    is_done,
    read_frame,
    whole_of,
)
from switchboard_coordinator.errors import MalformedRequest
from switchboard_coordinator.options import Options

MESSAGES = [{"role": "user", "content": "hi"}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
EXTRAS = st.dictionaries(st.text().filter(lambda key: key not in {"model", "messages", "stream", "switchboard"}), JSON)


def body(**members: Any) -> bytes:
    return json.dumps({"model": "nas", "messages": MESSAGES, **members}).encode()


def frame(value: object, event: str = "") -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": choices,
        **more,
    }


@given(EXTRAS, st.sampled_from([None, 1, 4]), st.booleans())
def test_a_streaming_request_reaches_the_peer_with_nothing_but_the_model_replaced(
    extras: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    value = {**extras, "model": "default@nas", "stream": True, "messages": MESSAGES}
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    try:
        raw = text.encode()
    except UnicodeEncodeError:  # a lone surrogate cannot stand in UTF-8
        return
    sent = ChatRequest.parse(raw).for_peer("hermes-agent")
    assert sent == raw.replace(b'"model": "default@nas"', b'"model": "hermes-agent"', 1)
    assert json.loads(sent) == {**value, "model": "hermes-agent"}


@pytest.mark.parametrize("stream", [b"", b'"stream": false,', b'"stream" : null ,'])
def test_a_request_that_does_not_stream_is_asked_as_a_stream(stream: bytes) -> None:
    raw = b'{ %b "model":"nas", "messages":[{"role":"user"}], "temperature": 1.50 }' % stream
    sent = ChatRequest.parse(raw).for_peer("work")
    assert json.loads(sent) == {"stream": True, "model": "work", "messages": [{"role": "user"}], "temperature": 1.5}
    assert b'"temperature": 1.50 }' in sent


def test_a_model_name_inside_a_message_is_left_alone() -> None:
    raw = b'{"messages":[{"role":"user","content":"\\"model\\": \\"nas\\"","model":"nas"}],"model":"nas","stream":true}'
    sent = json.loads(ChatRequest.parse(raw).for_peer("work"))
    assert sent["model"] == "work"
    assert sent["messages"][0] == {"role": "user", "content": '"model": "nas"', "model": "nas"}


@pytest.mark.parametrize(
    ("value", "is_stream"),
    [(True, True), ("true", True), ("1", True), (1, True), (False, False), (None, False), ("no", False)],
)
def test_stream_is_understood_as_an_agent_understands_it(value: object, is_stream: bool) -> None:
    assert ChatRequest.parse(body(stream=value)).is_stream is is_stream


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not a JSON object"),
        (b"{nope", "not a JSON object"),
        (b"[1,2]", "not a JSON object"),
        (b'{"model":"nas",}', "not a JSON object"),
        (b'{"model":"nas"} x', "not a JSON object"),
        (b'{"model":"nas","model":"gpu","messages":[]}', "twice"),
        (b"\xff{}", "not a JSON object"),
        (b'{"messages":[{}]}', "`model`"),
        (b'{"model":7,"messages":[{}]}', "`model`"),
        (b'{"model":"nas"}', "`messages`"),
        (b'{"model":"nas","messages":[]}', "`messages`"),
        (b'{"model":"nas","messages":"hi"}', "`messages`"),
        (b'{"model":"nas","messages":["hi"]}', "`messages`"),
        (b'{"model":"nas","messages":[{}],"switchboard":1}', "`switchboard`"),
        (b'{"model":"nas","messages":[{}],"switchboard":{"answers":"x"}}', "`answers`"),
    ],
)
def test_a_malformed_request_is_refused_in_words(raw: bytes, words: str) -> None:
    with pytest.raises(MalformedRequest, match=words):
        ChatRequest.parse(raw)


def test_a_body_nested_without_end_is_refused_in_words() -> None:
    with pytest.raises(MalformedRequest, match="too deeply"):
        ChatRequest.parse(b'{"model":"nas","messages":' + b"[" * 1_000_000)


def test_the_options_of_a_body_are_read() -> None:
    assert ChatRequest.parse(body()).options == Options()
    assert ChatRequest.parse(body(switchboard={"answers": "choices", "quorum": 2})).options == Options("choices", 2)
    with pytest.raises(MalformedRequest, match="`quorum`"):
        ChatRequest.parse(body(switchboard={"quorum": "many"}))


@given(st.binary())
def test_no_body_breaks_the_parser(raw: bytes) -> None:
    with pytest.raises(MalformedRequest):
        ChatRequest.parse(raw)


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (frame(chunk({"role": "assistant"})), QUIET),
        (frame(chunk({"content": "hi"})), Text("hi")),
        (frame(chunk({"content": ""})), QUIET),
        (
            frame({"tool": "terminal", "status": "running"}, "hermes.tool.progress"),
            Tool({"tool": "terminal", "status": "running"}),
        ),
        (frame({"x": 1}, "hermes.new"), QUIET),
        (frame(chunk({}, "stop", usage={"total_tokens": 3})), Finish("stop", {"total_tokens": 3}, None)),
        (frame(chunk({}, "length")), Finish("length", None, None)),
        (
            frame(chunk({}, "error", error={"message": "HTTP 401", "type": "agent_error"}, hermes={"failed": True})),
            Finish("error", None, "HTTP 401"),
        ),
        (
            frame(chunk({}, "stop", hermes={"failed": True, "completed": True, "error": "none"})),
            Finish("stop", None, "none"),
        ),
        (frame({"error": {"message": "gone"}}), Finish("error", None, "gone")),
        (frame({"error": "gone"}), Finish("error", None, "gone")),
        (frame(chunk({}, "error")), Finish("error", None, "the agent does not say why")),
        (b"data: [DONE]\n\n", QUIET),
        (b"data: [1]\n\n", QUIET),
        (b": keepalive\n\n", QUIET),
        (b"data: not json\n\n", QUIET),
        (frame({"choices": []}), QUIET),
    ],
)
def test_a_frame_says_what_it_says(raw: bytes, event: object) -> None:
    assert read_frame(raw) == event


def test_the_word_error_in_a_text_is_no_failure() -> None:
    words = 'the "error" and the "hermes" key'
    assert read_frame(frame(chunk({"content": words}))) == Text(words)


def test_the_end_mark_is_known_in_every_spelling() -> None:
    assert is_done(b"data: [DONE]\n\n")
    assert is_done(b"data:[DONE]\r\n\r\n")
    assert not is_done(frame(chunk({"content": "[DONE]"})))


def test_an_answer_put_together_is_the_json_of_an_agent() -> None:
    head = head_of(frame(chunk({"role": "assistant"})))
    assert head == {"id": "chatcmpl-1", "created": 7, "model": "m"}
    end = {"completion": head, "finish_reason": "length", "usage": {"total_tokens": 9}}
    assert list(whole_of("hello", end).items()) == [
        ("id", "chatcmpl-1"),
        ("object", "chat.completion"),
        ("created", 7),
        ("model", "m"),
        ("choices", [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "length"}]),
        ("usage", {"total_tokens": 9}),
    ]


@pytest.mark.parametrize(
    "raw", [b": keepalive\n\n", frame({"tool": "x", "id": "1"}, "hermes.tool.progress"), b"data: 1\n\n"]
)
def test_only_a_chunk_has_a_head(raw: bytes) -> None:
    assert head_of(raw) == {}


def test_who_is_asked_can_be_said_beside_the_body() -> None:
    asked = ChatRequest.parse(b'{"messages":[{"role":"user"}],"stream":true}', "work@nas")
    assert asked.model == "work@nas"
    assert json.loads(asked.for_peer("work")) == {"model": "work", "messages": [{"role": "user"}], "stream": True}
    assert ChatRequest.parse(body(model="tower"), "nas").model == "nas"


def test_other_messages_take_the_place_of_the_clients_own() -> None:
    raw = b'{"model":"nas","messages":[{"role":"user","content":"hi"}],"temperature":1.50}'
    sent = ChatRequest.parse(raw).for_peer("work", [{"role": "user", "content": "what was missed, hi"}])
    assert json.loads(sent)["messages"] == [{"role": "user", "content": "what was missed, hi"}]
    assert b'"temperature":1.50}' in sent


def test_the_question_is_what_the_user_said_last() -> None:
    messages = [
        {"role": "user", "content": "first"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "look"}, {"type": "image_url"}, {"type": "text", "text": "here"}],
        },
        {"role": "assistant", "content": "no"},
    ]
    assert ChatRequest.parse(body(messages=messages)).question == "look\nhere"
