"""The question of a lane as its transport wants it. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from switchboard_coordinator.address import DEFAULT_PROFILE, Address
from switchboard_coordinator.chat import ChatRequest, text_of

Message = Mapping[str, Any]

TEXT_CHARACTERS = 65_536
"""What is longer in one part of a message, an agent cuts off in silence (hermes-agent 0.19.0)."""


class Question(Protocol):
    """What one lane asks, once it is known whom."""

    async def chat(self, address: Address) -> bytes:
        """The body of its chat request."""
        ...

    async def run(self, address: Address) -> dict[str, Any]:
        """The body of its `POST /v1/runs`."""
        ...


class PlainQuestion:
    """The client's own words, which depend on nothing that was said before."""

    def __init__(self, chat: ChatRequest) -> None:
        self._chat = chat

    async def chat(self, address: Address) -> bytes:
        """See `Question.chat`."""
        return self._chat.for_peer(model_of(address))

    async def run(self, address: Address) -> dict[str, Any]:  # noqa: ARG002 - the same for everyone
        """See `Question.run`."""
        return run_of(self._chat.messages, (), None)


class ChairsQuestion:
    """What a council's chair is asked: known once the others have answered."""

    def __init__(self) -> None:
        self.text = ""

    async def chat(self, address: Address) -> bytes:
        """See `Question.chat`."""
        asked = {"model": model_of(address), "stream": True, "messages": [{"role": "user", "content": self.text}]}
        return json.dumps(asked).encode()

    async def run(self, address: Address) -> dict[str, Any]:  # noqa: ARG002 - the same for everyone
        """See `Question.run`."""
        return {"input": self.text}


def model_of(address: Address) -> str:
    """What a peer's own model list calls this profile: our routing id is ours alone (hermes-agent 0.19.0)."""
    return "hermes-agent" if address.profile == DEFAULT_PROFILE else address.profile


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


def with_missed(messages: Sequence[Message], missed: Sequence[Message]) -> list[Message]:
    """The messages, with what was said elsewhere set before the user's last one as marked text.

    An agent ignores earlier messages of a body that names a session, so they go into the message itself; in parts where
    they are long, so that nothing of it is cut off, least of all what the user asks.
    """
    last = max((n for n, message in enumerate(messages) if message.get("role") == "user"), default=None)
    if last is None or not missed:
        return list(messages)
    told = "\n".join(f"{message['role']}: {text_of(message)}" for message in missed)
    note = f"[This conversation went on elsewhere. What was said there:\n{told}\nEnd of what was said there.]\n\n"
    content = messages[last].get("content")
    if not isinstance(content, list) and len(note) + len(content or "") <= TEXT_CHARACTERS:
        marked: object = f"{note}{content or ''}"
    else:
        pieces = [note[at : at + TEXT_CHARACTERS] for at in range(0, len(note), TEXT_CHARACTERS)]
        own = content if isinstance(content, list) else [_part(content or "")]
        marked = [*map(_part, pieces), *own]
    return [*messages[:last], {**messages[last], "content": marked}, *messages[last + 1 :]]


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
