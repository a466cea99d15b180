"""Every route of the coordinator, for `GET /openapi.json`. Pure: a test holds this table to the application's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from . import openapi_shapes as shapes
from .turn_surface import Approval, Cancel

Schema = dict[str, Any]

MALFORMED = ("invalid_request", "body_too_large")
OPENING = ("insufficient_scope", "model_not_found", "rate_limit_exceeded", "journal_unavailable", "peer_busy")
KEYED = ("journal_needed", "idempotency_key_conflict", "session_peer_mismatch")
LANE = (
    *("peer_unavailable", "peer_timeout", "peer_busy", "peer_unauthorized", "agent_unreachable", "peer_misconfigured"),
    *("peer_bad_response", "peer_failed", "peer_outcome_unknown"),
)
ENDED = (*LANE, "every_lane_failed", "quorum_missed", "turn_cancelled", "deadline_exceeded")

SSE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route.

    Attributes:
        good: what it answers when all is well: a shape or a media type for each status.
        codes: the errors that are its own; those of every route are not named.
        is_the_agents: an agent may answer in its own words, with a status of its own.
        is_open: nobody needs a key.
    """

    method: str
    path: str
    tag: str
    summary: str
    good: Mapping[int, type[BaseModel] | tuple[type[BaseModel] | str, ...]]
    codes: tuple[str, ...] = ()
    body: type[BaseModel] | str | None = None
    parameters: tuple[Schema, ...] = ()
    description: str = ""
    is_the_agents: bool = False
    is_open: bool = False
    needs_body: bool = field(default=True)


def query(name: str, description: str, **schema: Any) -> Schema:
    """A parameter of the query."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def header(name: str, description: str, **schema: Any) -> Schema:
    """A header of the request."""
    return {"name": name, "in": "header", "description": description, "schema": schema}


def path(name: str, description: str, **schema: Any) -> Schema:
    """A part of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", **schema},
    }


TO = header("x-switchboard-to", "who is asked, in place of `model`", type="string", pattern=shapes.MODEL)
TO_ONE = header("x-switchboard-to", "who is asked, in place of `model`", **shapes.ADDRESS)
DEADLINE = header("x-switchboard-deadline-ms", "the turn is cancelled when it takes longer", **shapes.DEADLINE)
SESSION_KEY = header(
    "X-Hermes-Session-Key",
    "the memory it belongs to; peers see it with the consumer's name before it",
    type="string",
    pattern="^[!-~]([ -~]{0,126}[!-~])?$",
)
SESSION_ID = header(
    "X-Hermes-Session-Id",
    "the session it belongs to; peers see it with the consumer's name before it",
    type="string",
    pattern="^[!-~]([ -~]{0,126}[!-~])?$",
)
TERMS = (
    TO,
    DEADLINE,
    SESSION_ID,
    SESSION_KEY,
    header(
        "Idempotency-Key",
        "joins the turn that came with the same key and request, for 24 h",
        type="string",
        pattern="^[!-~]{1,255}$",
    ),
    header("x-switchboard-on-disconnect", "what happens when its last client leaves", enum=["cancel", "detach"]),
    header("x-switchboard-transport", "how the peer is asked", enum=["chat", "runs"]),
    header("x-switchboard-move", "`yes`: the session may go on at another address", enum=["yes", "no"]),
)
TURN = path("id", "the turn", pattern=shapes.TURN_ID)
PEER = path("peer", "a peer's name", pattern="^[a-z0-9][a-z0-9-]*$")
PROFILE = path("profile", "one of its profiles", pattern="^[a-z0-9][a-z0-9-]*$")
BELOW = path("path", "a path of the agent's API below `/v1/`", pattern="^[A-Za-z0-9_~-]+(/[A-Za-z0-9_~-]+)*$")

RAW = "An agent's API as it is: one request, one answer, in the agent's own words. Needs the scope `raw:<peer>`."


def _raw(method: str, mount: str, parameters: tuple[Schema, ...]) -> Operation:
    return Operation(
        method,
        f"{mount}/v1/{{path}}",
        "raw",
        "one agent's API",
        {},
        codes=(*MALFORMED, "insufficient_scope", "not_found", "rate_limit_exceeded", *LANE),
        body="*/*" if method in ("POST", "PUT", "PATCH", "DELETE") else None,
        needs_body=False,
        parameters=(*parameters, BELOW),
        description=RAW,
        is_the_agents=True,
    )


OPERATIONS = (
    Operation("GET", "/v1/models", "openai", "what this key may ask", {200: shapes.Models}),
    Operation(
        "GET",
        "/v1/models/{id}",
        "openai",
        "one of them",
        {200: shapes.Model},
        codes=("model_not_found",),
        parameters=(path("id", "a model id", pattern=shapes.MODEL),),
    ),
    Operation(
        "POST",
        "/v1/chat/completions",
        "openai",
        "ask one address or a group, streaming or not",
        {200: (shapes.Completion, SSE)},
        codes=(*MALFORMED, *OPENING, *KEYED, *ENDED),
        body=shapes.Chat,
        parameters=TERMS,
        is_the_agents=True,
    ),
    Operation(
        "POST",
        "/v1/responses",
        "openai",
        "ask one address for a response, passed through",
        {200: (shapes.ResponseObject, SSE)},
        codes=(*MALFORMED, "insufficient_scope", "model_not_found", "rate_limit_exceeded", "deadline_exceeded", *LANE),
        body=shapes.ResponseBody,
        parameters=(TO_ONE, DEADLINE, SESSION_KEY),
        is_the_agents=True,
    ),
    *(_raw(method, "/peers/{peer}", (PEER,)) for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")),
    *(
        _raw(method, "/peers/{peer}/profiles/{profile}", (PEER, PROFILE))
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    ),
    Operation(
        "POST",
        "/api/turns",
        "turns",
        "begin a turn; 200 where its Idempotency-Key joins one",
        {200: shapes.Turn, 202: shapes.Turn},
        codes=(*MALFORMED, *OPENING, *KEYED),
        body=shapes.TurnBody,
        parameters=TERMS[1:],
    ),
    Operation(
        "GET",
        "/api/turns",
        "turns",
        "this consumer's turns, the newest first",
        {200: shapes.TurnPage},
        codes=("invalid_request",),
        parameters=(
            query("limit", "how many", type="integer", minimum=1, maximum=500, default=50),
            query("before", "the `next` of the page before", type="string"),
            query("state", "only these", enum=["queued", "running", "done", "failed", "cancelled", "interrupted"]),
            query("session", "only of this session", type="string"),
        ),
    ),
    Operation(
        "GET",
        "/api/turns/{id}",
        "turns",
        "one turn, with what each lane said so far",
        {200: shapes.Turn},
        codes=("turn_not_found",),
        parameters=(TURN,),
    ),
    Operation(
        "GET",
        "/api/turns/{id}/events",
        "turns",
        "its events from any point on, live or long over",
        {200: (SSE,)},
        codes=("invalid_request", "journal_needed", "turn_not_found"),
        parameters=(
            TURN,
            query("after", "behind this event", type="string", pattern=shapes.CURSOR),
            header("Last-Event-ID", "the same, as browsers say it", type="string", pattern=shapes.CURSOR),
        ),
    ),
    Operation(
        "POST",
        "/api/turns/{id}/cancel",
        "turns",
        "cancel one lane or all",
        {200: shapes.Turn},
        codes=(*MALFORMED, "turn_not_found"),
        body=Cancel,
        needs_body=False,
        parameters=(TURN,),
    ),
    Operation(
        "POST",
        "/api/turns/{id}/approvals/{approval}",
        "turns",
        "answer an agent that asks for leave",
        {200: shapes.Turn},
        codes=(*MALFORMED, "turn_not_found", "approval_not_pending", *LANE),
        body=Approval,
        parameters=(TURN, path("approval", "what the event `lane.approval` called it", pattern="^[0-9a-z_-]+$")),
    ),
    Operation("GET", "/api/peers", "roster", "every peer, as it was found last", {200: shapes.Peers}),
    Operation(
        "GET",
        "/api/peers/events",
        "roster",
        "every change of the roster, as it comes",
        {200: (SSE,)},
    ),
    Operation(
        "GET",
        "/api/peers/{peer}",
        "roster",
        "one peer",
        {200: shapes.Peer},
        codes=("not_found",),
        parameters=(PEER,),
    ),
    Operation(
        "POST",
        "/api/peers/{peer}/drain",
        "roster",
        "give a peer no new turns; what runs there goes on",
        {200: shapes.Peer},
        codes=("insufficient_scope", "not_found", "journal_unavailable"),
        parameters=(PEER,),
        description="Needs the scope `admin`.",
    ),
    Operation(
        "POST",
        "/api/peers/{peer}/undrain",
        "roster",
        "let it have turns again, those that wait at once",
        {200: shapes.Peer},
        codes=("insufficient_scope", "not_found", "journal_unavailable"),
        parameters=(PEER,),
        description="Needs the scope `admin`.",
    ),
    Operation("GET", "/api/groups", "roster", "every group and its model ids", {200: shapes.Groups}),
    Operation(
        "GET",
        "/api/audit",
        "audit",
        "what was refused and what was changed, the newest first",
        {200: shapes.AuditPage},
        codes=("invalid_request", "insufficient_scope"),
        parameters=(
            query("limit", "how many", type="integer", minimum=1, maximum=1000, default=100),
            query("before", "older than this entry", type="integer", minimum=1, maximum=10**18 - 1),
        ),
        description="Needs the scope `admin`.",
    ),
    Operation(
        "POST",
        "/api/remote-agent/invoke",
        "turns",
        "one message to one address",
        {200: shapes.Reply},
        codes=(*MALFORMED, *OPENING, *ENDED),
        body=shapes.InvocationBody,
        is_the_agents=True,
    ),
    Operation("GET", "/healthz", "machines", "this process is there", {200: shapes.Status}, is_open=True),
    Operation(
        "GET",
        "/readyz",
        "machines",
        "new turns are taken; 503 says why not",
        {200: shapes.Status, 503: shapes.Status},
        is_open=True,
    ),
    Operation("GET", "/openapi.json", "machines", "this document", {200: ("application/json",)}),
)
