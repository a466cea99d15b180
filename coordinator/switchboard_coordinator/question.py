"""The question of a lane as its transport wants it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from .chat import text_of

Message = Mapping[str, Any]


def run_of(messages: Sequence[Message], history: Sequence[Message], session_id: str | None) -> dict[str, Any]:
    """The body of `POST /v1/runs`: a run loads no stored session, so it is given its history (hermes-agent 0.19.0).

    `history` is what was said before these messages, where they do not tell it themselves.
    """
    talk = [message for message in messages if message.get("role") in ("user", "assistant")]
    asked, before = (talk[-1], talk[:-1]) if talk else ({"content": ""}, [])
    instructions = "\n".join(text_of(message) for message in messages if message.get("role") == "system")
    run: dict[str, Any] = {"input": _input(asked)}
    if instructions:
        run["instructions"] = instructions
    told = [_plain(message) for message in (before or history)]
    if told:
        run["conversation_history"] = told
    if session_id is not None:
        run["session_id"] = session_id
    return run


def _input(message: Message) -> object:
    content = message.get("content")
    if isinstance(content, list) and any(part.get("type") not in ("text", "input_text") for part in content):
        return [{"role": "user", "content": content}]
    return text_of(message)


def _plain(message: Message) -> dict[str, str]:
    return {"role": str(message["role"]), "content": text_of(message)}


def with_missed(messages: Sequence[Message], missed: Sequence[Message], home: str) -> list[Message]:
    """The messages, with what was said elsewhere set before the user's last one as marked text.

    An agent ignores earlier messages of a body that names a session, so they go into the message itself.
    """
    last = max((n for n, message in enumerate(messages) if message.get("role") == "user"), default=None)
    if last is None or not missed:
        return list(messages)
    told = "\n".join(f"{message['role']}: {text_of(message)}" for message in missed)
    note = f"[This conversation went on at {home}. What was said there:\n{told}\nEnd of what was said there.]\n\n"
    content = messages[last].get("content")
    marked = [{"type": "text", "text": note}, *content] if isinstance(content, list) else f"{note}{content or ''}"
    return [*messages[:last], {**messages[last], "content": marked}, *messages[last + 1 :]]
