"""`GET /openapi.json`: what the coordinator answers to, as OpenAPI 3.1 tells it; made from the table of its routes."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from switchboard_coordinator.errors import Conflict, EveryLaneFailed, SwitchboardError

from .openapi_routes import OPERATIONS, Operation
from .openapi_shapes import Envelope, Problem

DESCRIPTION = """\
One client, many machines that each run hermes-agent. docs/protocol.md tells what the routes promise.

Every answer has `x-request-id`: the client's own, where it sent 1 to 128 visible ASCII characters. Every error has
`x-switchboard-started`, which says what is known of the agent's work."""
ENVELOPES = ("/v1/", "/peers/")
"""Below these an error is an OpenAI envelope, elsewhere a problem."""
ANYTHING: dict[str, Any] = {"*/*": {}}
_CONFLICTS = ("idempotency_key_conflict", "session_peer_mismatch", "approval_not_pending")
_NEEDS_KEY = ("invalid_api_key",)
_ALWAYS = ("internal_error",)


class OpenApi:
    """The endpoint, open to every key."""

    def __init__(self) -> None:
        self._body = orjson.dumps(document())

    async def answer(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's shape of an endpoint
        """The document."""
        return Response(self._body, media_type="application/json")


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _told(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hermes Switchboard",
            "version": version("switchboard-coordinator"),
            "description": DESCRIPTION,
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "a consumer's key"}},
        },
    }


def statuses() -> dict[str, int]:
    """The status of every code of ours."""
    known = dict.fromkeys(_CONFLICTS, Conflict.status)
    known |= {error.code: error.status for error in _all(SwitchboardError)}
    return known | {"quorum_missed": EveryLaneFailed.status, "not_found": 404, "method_not_allowed": 405}


def _all(error: type[SwitchboardError]) -> Iterator[type[SwitchboardError]]:
    yield error
    for below in error.__subclasses__():
        yield from _all(below)


def _told(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": _id(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": _answers(operation),
    }
    if operation.description:
        told["description"] = operation.description
    if operation.parameters:
        told["parameters"] = list(operation.parameters)
    if operation.body is not None:
        told["requestBody"] = {"required": operation.needs_body, "content": _content((operation.body,))}
    if operation.is_open:
        told["security"] = []
    return told


def _id(operation: Operation) -> str:
    words = operation.path.replace("{", "").replace("}", "").replace("-", "_").replace(".", "_").split("/")
    return "_".join([operation.method.lower(), *filter(None, words)])


def _answers(operation: Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, shapes in operation.good.items():
        given = shapes if isinstance(shapes, tuple) else (shapes,)
        answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": _content(given)}
    codes = (*operation.codes, *_ALWAYS, *(() if operation.is_open else _NEEDS_KEY))
    known = statuses()
    for status in sorted({known[code] for code in codes}):
        answers.setdefault(str(status), _refusal(operation, {code for code in codes if known[code] == status}))
    if operation.is_the_agents:
        answers["default"] = {"description": "the agent's own answer", "content": ANYTHING}
    return answers


def _refusal(operation: Operation, codes: set[str]) -> dict[str, Any]:
    is_envelope = operation.path.startswith(ENVELOPES)
    kind = "application/json" if is_envelope else "application/problem+json"
    shape = Envelope if is_envelope else Problem
    return {
        "description": ", ".join(f"`{code}`" for code in sorted(codes)),
        "headers": {"x-switchboard-started": {"schema": {"enum": ["no", "yes", "unknown"]}}},
        "content": {kind: {"schema": _reference(shape)}} if operation.good else ANYTHING,
    }


def _content(given: Iterable[type[BaseModel] | str]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for shape in given:
        if isinstance(shape, str):
            content[shape] = {}
        else:
            content["application/json"] = {"schema": _reference(shape)}
    return content


def _reference(shape: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def _schemas() -> dict[str, Any]:
    used: list[type[BaseModel]] = [Envelope, Problem]
    for operation in OPERATIONS:
        for shapes in (*operation.good.values(), operation.body):
            given = shapes if isinstance(shapes, tuple) else (shapes,)
            used += [shape for shape in given if isinstance(shape, type) and shape not in used]
    _, schemas = models_json_schema(
        [(shape, "validation") for shape in used], ref_template="#/components/schemas/{model}"
    )
    defined: dict[str, Any] = schemas["$defs"]
    return defined
