"""What a lane asks: a run with its history, and what was said elsewhere, marked, in the user's message."""

from typing import Any

import orjson
import pytest
from switchboard_coordinator.address import Address
from switchboard_coordinator.chat import ChatRequest
from switchboard_coordinator.turns.question import (
    TEXT_CHARACTERS,
    ChairsQuestion,
    PlainQuestion,
    model_of,
    run_of,
    with_missed,
)

NAS, WORK = Address("default", "nas"), Address("work", "nas")
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


SAID = [user("first"), assistant("one")]
NOTE = "[This conversation went on elsewhere. What was said there:\nuser: first\nassistant: one\n"
END = "End of what was said there.]\n\n"


def test_our_own_name_of_an_address_stays_with_us() -> None:
    assert (model_of(NAS), model_of(WORK)) == ("hermes-agent", "work")


def test_what_was_missed_stands_marked_before_the_users_last_words() -> None:
    messages = [{"role": "system", "content": "be kind"}, user("old"), assistant("yes"), user("new")]
    told = with_missed(messages, SAID)
    assert told == [*messages[:3], user(f"{NOTE}{END}new")]
    assert messages[3] == user("new"), "what the client sent is left alone"


def test_a_message_with_a_picture_keeps_it() -> None:
    parts = [{"type": "text", "text": "what is this?"}, PICTURE]
    (told,) = with_missed([user(parts)], SAID)
    assert told["content"] == [{"type": "text", "text": NOTE + END}, *parts]


def test_what_is_long_comes_in_parts_of_which_an_agent_cuts_nothing_off() -> None:
    asked = "?" * TEXT_CHARACTERS
    (told,) = with_missed([user(asked)], [user("a" * 100_000), assistant("b" * 100_000)])
    parts = [part["text"] for part in told["content"]]
    assert parts[-1] == asked, "the question itself is whole"
    assert max(map(len, parts)) <= TEXT_CHARACTERS
    note = "".join(parts[:-1])
    assert (note.count("a" * 100_000), note.count("b" * 100_000), note[-len(END) :]) == (1, 1, END)


def test_what_fits_into_one_part_stays_one_text() -> None:
    room = TEXT_CHARACTERS - len(NOTE + END)
    (told,) = with_missed([user("?" * room)], SAID)
    assert len(told["content"]) == TEXT_CHARACTERS
    (told,) = with_missed([user("?" * (room + 1))], SAID)
    assert [part["text"] for part in told["content"]] == [NOTE + END, "?" * (room + 1)]


def test_of_what_was_missed_pictures_are_left_out_and_their_text_stays() -> None:
    (told,) = with_missed([user("new")], [user([PICTURE, {"type": "text", "text": "look"}]), assistant("a cat")])
    assert "user: look\nassistant: a cat\n" in told["content"]
    assert "image" not in told["content"]


@pytest.mark.parametrize(
    ("messages", "missed"), [([user("new")], []), ([assistant("I begin")], SAID), ([user("a"), assistant("b")], [])]
)
def test_where_nothing_was_missed_or_nobody_asks_the_messages_stay(messages: Any, missed: Any) -> None:
    assert with_missed(messages, missed) == messages


@pytest.mark.parametrize("content", [None, ""])
def test_a_user_who_says_nothing_is_told_for_all_the_same(content: Any) -> None:
    (told,) = with_missed([user(content)], SAID)
    assert told["content"] == NOTE + END


def test_a_run_is_the_last_words_and_what_was_said_before_them() -> None:
    messages = [{"role": "system", "content": "be kind"}, *SAID, {"role": "tool", "content": "42"}, user("second")]
    assert run_of(messages, [], "me.tale") == {
        "input": "second",
        "instructions": "be kind",
        "conversation_history": SAID,
        "session_id": "me.tale",
    }


def test_the_clients_own_history_counts_more_than_what_was_kept() -> None:
    kept = [user("kept"), assistant("kept")]
    assert run_of([*SAID, user("second")], kept, None)["conversation_history"] == SAID
    assert run_of([user("second")], kept, None)["conversation_history"] == kept
    assert run_of([user("second")], [], None) == {"input": "second"}


def test_several_system_messages_are_one_instruction() -> None:
    more: dict[str, Any] = {"role": "system", "content": [{"type": "text", "text": "!"}]}
    systems = [{"role": "system", "content": "be kind"}, more]
    assert run_of([*systems, user("hi")], [], None)["instructions"] == "be kind\n!"


def test_a_run_with_a_picture_is_given_it_and_its_history_in_words() -> None:
    parts = [{"type": "text", "text": "and this?"}, PICTURE]
    run = run_of([user([{"type": "text", "text": "this?"}, PICTURE]), assistant("a cat"), user(parts)], [], None)
    assert run["input"] == [{"role": "user", "content": parts}]
    assert run["conversation_history"] == [user("this?"), assistant("a cat")]


def test_text_in_parts_is_asked_as_text() -> None:
    assert run_of([user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], [], None) == {"input": "a\nb"}


async def test_a_question_without_a_session_is_the_clients_own_bytes_but_for_the_model() -> None:
    body = b'{"model":"work@nas", "stream":true,"messages":[{"role":"user","content":"hi"}],"temperature":0.50}'
    question = PlainQuestion(ChatRequest.parse(body))
    assert await question.chat(WORK) == body.replace(b"work@nas", b"work")
    assert await question.run(WORK) == {"input": "hi"}


async def test_a_chair_is_asked_what_is_known_by_then() -> None:
    question = ChairsQuestion()
    question.text = "Who is right?"
    asked = orjson.loads(await question.chat(NAS))
    assert asked == {"model": "hermes-agent", "stream": True, "messages": [user("Who is right?")]}
    assert await question.run(NAS) == {"input": "Who is right?"}
