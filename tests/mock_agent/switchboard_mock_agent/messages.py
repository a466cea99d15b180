"""What a client's messages say, read and refused as hermes-agent 0.19.0 does. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .record import Message

TEXT_LIMIT_CHARACTERS = 65_536
LIST_LIMIT = 1_000
HEADER_LIMIT_CHARACTERS = 256
_TEXTS, _IMAGES, _FILES = {"text", "input_text", "output_text"}, {"image_url", "input_image"}, {"file", "input_file"}
_TRUE = frozenset(("true", "1", "yes", "on"))

Content = str | list[dict[str, Any]]


class Refused(Exception):
    """The agent answers 400 with this error object."""

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message)
        self.error = {"message": message, "type": "invalid_request_error", **more}


@dataclass(frozen=True)
class Asked:
    """The messages of one chat request. `derived_session` is the session of a client that names none."""

    text: str
    content: Content
    history: list[Message]
    system: str
    derived_session: str


def asked(messages: object) -> Asked:
    """Read the messages of a chat request: the last of user and assistant is what is asked, tool messages are dropped.

    Raises:
        Refused: there is nothing to answer, or a part that is not taken.
        AttributeError: a message is no object (the real one answers 500).
    """
    if not isinstance(messages, list) or not messages:
        raise Refused("Missing or invalid 'messages' field")
    systems, talk = [], []
    for index, message in enumerate(messages):
        role, given = message.get("role", ""), message.get("content", "")
        if role == "system":
            systems.append(_flat(given))
        elif role in ("user", "assistant"):
            talk.append({"role": role, "content": content(given, param=f"messages[{index}].content")})
    last: Content = talk[-1]["content"] if talk else ""
    if not is_visible(last):
        raise Refused("No user message found in messages")
    system = "\n".join(systems)
    first = next((message["content"] for message in talk if message["role"] == "user"), "")
    return Asked(text_of(last), last, talk[:-1], system, derived_session(system, first))


def derived_session(system: str, first: Content) -> str:
    """The id of a session that the client did not name; of a message with images the real one hashes Python's repr."""
    return "api-" + hashlib.sha256(f"{system}\n{first}".encode()).hexdigest()[:16]


def content(given: Any, *, param: str) -> Content:
    """A message's content: text alone becomes one string; with images it stays a list of parts.

    Raises:
        Refused: a file, an unknown part, an image of the wrong kind; `param` names the place.
    """
    if not isinstance(given, list):
        return _flat(given)
    parts = [part for entry in given[:LIST_LIMIT] for part in _part(entry, param)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(entry: Any, param: str) -> list[dict[str, Any]]:
    if isinstance(entry, str):
        return [{"type": "text", "text": entry[:TEXT_LIMIT_CHARACTERS]}] if entry else []
    if not isinstance(entry, dict):
        return []
    kind = str(entry.get("type") or "").strip().lower()
    if kind in _TEXTS:
        text = str(entry.get("text") or "")[:TEXT_LIMIT_CHARACTERS]
        return [{"type": "text", "text": text}] if text else []
    if kind in _IMAGES:
        return [_image(entry, param)]
    if kind in _FILES:
        takes = "Inline image inputs are supported, but uploaded files and document inputs"
        words = f"{takes} are not supported on this endpoint."
    else:
        takes = "Only text and image_url/input_image parts are supported."
        words = f"Unsupported content part type {entry.get('type')!r}. {takes}"
    raise Refused(words, param=param, code="unsupported_content_type")


def _image(entry: Mapping[str, Any], param: str) -> dict[str, Any]:
    image, detail = entry.get("image_url"), entry.get("detail")
    url = image.get("url") if isinstance(image, dict) else image
    detail = image.get("detail", detail) if isinstance(image, dict) else detail
    if not isinstance(url, str) or not url.strip():
        raise Refused("Image parts must include a non-empty image URL.", param=param, code="invalid_image_url")
    url = url.strip()
    scheme = url.lower()
    if scheme.startswith("data:"):
        if not scheme.startswith("data:image/") or "," not in url:
            words = "Only image data URLs are supported. Non-image data payloads are not supported."
            raise Refused(words, param=param, code="unsupported_content_type")
    elif not scheme.startswith(("http://", "https://")):
        words = "Image inputs must use http(s) URLs or data:image/... URLs."
        raise Refused(words, param=param, code="invalid_image_url")
    return {"type": "image_url", "image_url": {"url": url, **({} if detail is None else {"detail": detail})}}


def is_visible(given: Content) -> bool:
    """Whether there is any text or image in it."""
    return bool(given.strip()) if isinstance(given, str) else bool(given)


def text_of(given: Content) -> str:
    """The text of a content, without its images."""
    if isinstance(given, str):
        return given
    return "\n".join(part["text"] for part in given if part["type"] == "text")


def _flat(given: Any) -> str:
    if isinstance(given, list):
        texts = [part if isinstance(part, str) else str(part.get("text") or "") for part in given[:LIST_LIMIT]]
        return "\n".join(text for text in texts if text)[:TEXT_LIMIT_CHARACTERS]
    return ("" if given is None else str(given))[:TEXT_LIMIT_CHARACTERS]


def history(given: Any) -> list[Message]:
    """The member `conversation_history` of a run or a response.

    Raises:
        Refused: it is no list of messages.
    """
    nothing: dict[str, Any] = {"param": None, "code": None}
    if not given:
        return []
    if not isinstance(given, list):
        raise Refused("'conversation_history' must be an array of message objects", **nothing)
    for index, entry in enumerate(given):
        if not isinstance(entry, dict) or "role" not in entry or "content" not in entry:
            raise Refused(f"conversation_history[{index}] must have 'role' and 'content' fields", **nothing)
    return [{"role": str(entry["role"]), "content": str(entry["content"])} for entry in given]


def run_input(body: Mapping[str, Any]) -> tuple[str, list[Message]]:
    """What a run is asked, and the history it is given: its own member, else the earlier messages of its input.

    Raises:
        Refused: there is nothing to answer, or the history is none.
    """
    nothing: dict[str, Any] = {"param": None, "code": None}
    given = body.get("input")
    if not given:
        raise Refused("Missing 'input' field", **nothing)
    last = given if isinstance(given, str) else given[-1].get("content", "") if isinstance(given, list) else ""
    if not last:
        raise Refused("No user message found in input", **nothing)
    told = history(body.get("conversation_history"))
    if not told and isinstance(given, list):
        earlier = [
            entry for entry in given[:-1] if isinstance(entry, dict) and entry.get("role") and entry.get("content")
        ]
        told = [{"role": entry["role"], "content": _flat(entry["content"])} for entry in earlier]
    return _flat(last), told


def response_input(body: Mapping[str, Any]) -> list[Message]:
    """What a response is asked: the last of these messages, after those before it.

    Raises:
        Refused: there is nothing to answer, it names two predecessors, or a part is not taken.
    """
    nothing: dict[str, Any] = {"param": None, "code": None}
    given = body.get("input")
    if given is None:
        raise Refused("Missing 'input' field", **nothing)
    if body.get("conversation") and body.get("previous_response_id"):
        raise Refused("Cannot use both 'conversation' and 'previous_response_id'", **nothing)
    if not isinstance(given, str | list):
        raise Refused("'input' must be a string or array", **nothing)
    asked: list[Message] = []
    for index, entry in enumerate([given] if isinstance(given, str) else given):
        if isinstance(entry, str):
            asked.append({"role": "user", "content": entry})
        elif isinstance(entry, dict):
            told = content(entry.get("content", ""), param=f"input[{index}].content")
            asked.append({"role": entry.get("role", "user"), "content": told})
    if not asked or not is_visible(asked[-1]["content"]):
        raise Refused("No user message found in input", **nothing)
    return asked


def session_headers(headers: Mapping[str, str], *, is_chat: bool = True) -> tuple[str, str]:
    """The session id and the session key that a client gave, empty where it gave none; only chat takes an id so.

    Raises:
        Refused: one is longer than 256 characters, or the id looks like a path.
    """
    key = headers.get("X-Hermes-Session-Key", "").strip()
    if len(key) > HEADER_LIMIT_CHARACTERS:
        raise Refused("Session key too long")
    session = headers.get("X-Hermes-Session-Id", "").strip() if is_chat else ""
    is_path = ".." in session or "/" in session or "\\" in session
    if is_path or (session[:1].isalpha() and session[1:2] == ":"):
        raise Refused("Invalid session ID")
    if len(session) > HEADER_LIMIT_CHARACTERS:
        raise Refused("Session ID too long")
    return session, key


def is_true(given: Any) -> bool:
    """A flag as clients send it: a boolean, a number, or a word."""
    return given.strip().lower() in _TRUE if isinstance(given, str) else isinstance(given, int | float) and bool(given)
