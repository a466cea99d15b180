"""A JSON body that is edited in place: what is not replaced stays as the client wrote it. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Self

from .errors import MalformedRequest

_BLANK = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON object: its top-level values, and where each stands."""

    values: dict[str, Any]
    _text: str
    _spans: dict[str, tuple[int, int]]

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a body.

        Raises:
            MalformedRequest: it is no JSON object, or has a key twice.
        """
        try:
            text = body.decode()
            values, spans = _members(text)
        except RecursionError:
            raise MalformedRequest("the body is nested too deeply") from None
        except ValueError as error:
            raise MalformedRequest(f"the body is not a JSON object: {error}") from None
        return cls(values, text, spans)

    def raw(self, name: str) -> bytes:
        """A value in the client's own words."""
        begin, end = self._spans[name]
        return self._text[begin:end].encode()

    def with_values(self, values: Mapping[str, object]) -> bytes:
        """The same body with these values: in place of the client's, or at the front where it has none."""
        written = {name: json.dumps(value) for name, value in values.items()}
        text = self._text
        for name in sorted(written.keys() & self._spans.keys(), key=self._spans.__getitem__, reverse=True):
            begin, end = self._spans[name]
            text = text[:begin] + written[name] + text[end:]
        added = "".join(f'"{name}":{value},' for name, value in written.items() if name not in self._spans)
        begin = self._text.index("{") + 1
        return (text[:begin] + added + text[begin:]).encode()


def _members(text: str) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """The members of a JSON object and where each value stands; a key that is there twice is refused."""
    decoder = json.JSONDecoder()
    values: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}

    def skip(position: int) -> int:
        match = _BLANK.match(text, position)
        return match.end() if match else position

    def expect(position: int, characters: str) -> str:
        found = text[position : position + 1]
        if not found or found not in characters:
            raise ValueError(f"expected {' or '.join(characters)} at character {position}")
        return found

    position = skip(0)
    expect(position, "{")
    position = skip(position + 1)
    while text[position : position + 1] != "}":
        expect(position, '"')
        key, position = scanstring(text, position + 1)
        if key in values:
            raise ValueError(f"{key!r} is there twice")
        position = skip(position)
        expect(position, ":")
        begin = skip(position + 1)
        values[key], end = decoder.raw_decode(text, begin)
        spans[key] = begin, end
        position = skip(end)
        if expect(position, ",}") == ",":
            position = skip(position + 1)
            expect(position, '"')
    if skip(position + 1) != len(text):
        raise ValueError("there is more after its end")
    return values, spans
