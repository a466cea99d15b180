"""JSON as agents write it: half a character, where a model's text was cut within one, becomes a `?`. Pure."""

import json
from typing import Any

import orjson


def loads(data: bytes) -> Any:
    """The value; every string in it can be written as UTF-8.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        value = json.loads(data)
        return orjson.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
