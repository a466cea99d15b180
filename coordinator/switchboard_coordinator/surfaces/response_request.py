"""`POST /v1/responses`: the request as a client sent it, and how a peer's stream tells that it is over. Pure."""

from dataclasses import dataclass
from typing import Any, Self

import orjson

from switchboard_coordinator import sse
from switchboard_coordinator.body import Body
from switchboard_coordinator.chat import is_true
from switchboard_coordinator.errors import MalformedRequest

_ENDS = frozenset((b"response.completed", b"response.incomplete", b"response.failed"))


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """One body of `POST /v1/responses`."""

    model: str
    is_stream: bool
    _body: Body
    _conversation: str | None

    @classmethod
    def parse(cls, body: bytes, to: str | None = None) -> Self:
        """Read a body, keeping where each top-level value stands; `to` says who is asked in place of its `model`.

        Raises:
            MalformedRequest: not a JSON object that says who is asked and what.
        """
        read = Body.parse(body)
        values = read.values
        model = to or values.get("model")
        if not isinstance(model, str) or not model:
            raise MalformedRequest("`model` says who is asked: `profile@peer`", param="model")
        asked = values.get("input")
        if not asked or not isinstance(asked, str | list):
            raise MalformedRequest("`input` is a text or a list, and not empty", param="input")
        conversation = values.get("conversation")
        if conversation is not None and (not isinstance(conversation, str) or not conversation):
            raise MalformedRequest("`conversation` is a name here", param="conversation")
        previous = values.get("previous_response_id")
        if previous is not None and not isinstance(previous, str):
            raise MalformedRequest("`previous_response_id` is the id of a response", param="previous_response_id")
        return cls(model, is_true(values.get("stream")), read, conversation)

    def for_peer(self, model: str, consumer: str) -> bytes:
        """The same request, asking `model`, as a stream.

        A conversation's name carries the consumer's, so that two that use the same do not meet in it.
        """
        values: dict[str, object] = {"model": model}
        if not self.is_stream:
            values["stream"] = True
        if self._conversation is not None:
            values["conversation"] = f"{consumer}.{self._conversation}"
        return self._body.with_values(values)


@dataclass(frozen=True, slots=True)
class End:
    """The last event of a stream. `failure` is the peer's own text where its turn failed."""

    response: dict[str, Any]
    failure: str | None


def read_end(frame: bytes) -> End | None:
    """What a frame says of the end, if it is the last."""
    event, data = sse.fields(frame) if frame.startswith(b"event: response.") else (b"", b"")
    if event not in _ENDS:
        return None
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    response = value.get("response") if isinstance(value, dict) else None
    if not isinstance(response, dict):
        return None
    if event != b"response.failed":
        return End(response, None)
    error = response.get("error")
    words = error.get("message") if isinstance(error, dict) else error
    return End(response, str(words or "the agent does not say why"))
