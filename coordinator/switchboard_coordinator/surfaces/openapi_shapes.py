"""The shapes of bodies and answers, for `GET /openapi.json`. Pure. What is asked is read elsewhere; this only tells it.

What an agent sends is open: it may say more than its shape tells. What is ours is closed.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from switchboard_coordinator.address import MODES, NAME_PATTERN
from switchboard_coordinator.options import Answers
from switchboard_coordinator.turn import Policy, State, Transport

from .intake import TurnRequest
from .remote_agent import Invocation
from .terms import LONGEST_DEADLINE_MS

MODEL = rf"^{NAME_PATTERN}(@{NAME_PATTERN})?$"
ADDRESS = {"type": "string", "pattern": MODEL, "not": {"pattern": f"^({'|'.join(MODES)})@"}}
TURN_ID = "^turn_[0-9a-f]{32}$"
CURSOR = "^[0-9]{1,12}(-[0-9]{1,6})?$"
QUESTION = {"role": "user", "content": "hello"}
STREAM = "true, or what an agent takes for it: `1`, and the texts true, 1, yes, on; anything else is not"
Address = Annotated[str, WithJsonSchema(ADDRESS)]
Health = Literal["up", "degraded", "unauthorized", "down"]
PeerHealth = Literal["up", "degraded", "draining", "unauthorized", "down"]


class Ours(BaseModel):
    """What has these members and no other."""

    model_config = ConfigDict(extra="forbid")


class Agents(BaseModel):
    """What may have more members than these."""

    model_config = ConfigDict(extra="allow")


# Errors.


class Problem(Ours):
    """RFC 9457."""

    type: str = Field(examples=["urn:hermes-switchboard:problem:turn_not_found"])
    title: str
    status: int
    detail: str
    code: str


class Fault(Ours):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class Envelope(Ours):
    """An error as OpenAI's clients read it."""

    error: Fault


# The OpenAI surface.


class Model(Ours):
    """Something that can be asked."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    name: str


class Models(Ours):
    """All that this key may ask."""

    object: Literal["list"]
    data: list[Model]


class Message(Agents):
    """One message of a conversation, as OpenAI has it; what an agent makes of it is the agent's."""

    role: Any = Field(None, examples=["user"])
    content: Any = Field(None, examples=["hello"])


class GroupOptions(Agents):
    """How the lanes of a group make one answer."""

    answers: Answers | None = None
    quorum: int | None = Field(None, ge=1, description="quorum@ only: so many lanes are enough; else a majority")
    chair: Address | None = Field(None, description="council@ only: who makes one reply of all")


class Chat(Agents):
    """OpenAI's body; what is not named here goes to the agent as it is."""

    model: str = Field(pattern=MODEL, description="`profile@peer`, `peer` or `mode@group`")
    messages: list[Message] = Field(min_length=1, examples=[[QUESTION]])
    stream: Any = Field(False, description=STREAM)
    switchboard: GroupOptions | None = None


class Choice(Agents):
    """One choice of an answer."""

    index: int
    message: dict[str, Any]
    finish_reason: str


class Completion(Agents):
    """The whole answer of a turn."""

    id: str | None
    object: Literal["chat.completion"]
    created: int | None
    model: str | None
    choices: list[Choice]
    usage: dict[str, Any] | None


class ResponseBody(Agents):
    """OpenAI's body; what is not named here goes to the agent as it is."""

    model: Address = Field(description="`profile@peer` or `peer`")
    input: Annotated[str, Field(min_length=1)] | Annotated[list[Any], Field(min_length=1)] = Field(examples=["hello"])
    stream: Any = Field(False, description=STREAM)
    conversation: str | None = Field(None, min_length=1)
    previous_response_id: str | None = None


class ResponseObject(Agents):
    """The agent's response."""

    id: str
    object: Literal["response"]
    status: str


# Turns.


def _one_question(schema: dict[str, Any]) -> None:
    """Tell what does not follow from the types: `text` or `messages`, and what can be asked how."""
    texts, messages, none = {"type": "string"}, {"type": "array"}, {"type": "null"}
    schema["oneOf"] = [
        {"required": ["text"], "properties": {"text": texts, "messages": none}},
        {"required": ["messages"], "properties": {"messages": messages, "text": none}},
    ]
    for shape, told in zip(("Message", "GroupOptions"), ("messages", "switchboard"), strict=True):
        reference: dict[str, Any] = {"$ref": f"#/components/schemas/{shape}"}
        many = {"type": "array", "minItems": 1, "items": reference, "examples": [[QUESTION]]}
        schema["properties"][told]["anyOf"] = [many if told == "messages" else reference, none]
    schema["properties"]["to"] |= {"pattern": MODEL}


class TurnBody(TurnRequest):
    """What is asked of whom, and on what terms."""

    model_config = ConfigDict(json_schema_extra=_one_question)


class Lane(Ours):
    """One address's part in a turn; `text` is what it said so far, where one turn is asked for."""

    index: int
    address: str
    state: State
    transport: Transport
    attempts: int
    run_id: str | None
    code: str | None
    message: str | None
    finish_reason: str | None
    duration_ms: int | None
    usage: dict[str, Any] | None
    approvals: list[dict[str, Any]]
    text: str | None = None


class Turn(Agents):
    """A turn; once it is over also what its last event told."""

    id: str = Field(pattern=TURN_ID)
    state: State
    to: str
    mode: str | None
    policy: Policy
    session: str | None
    last_event: int
    lanes: list[Lane]


class TurnRow(Ours):
    """A turn in a list; times in seconds since 1970."""

    id: str = Field(pattern=TURN_ID)
    state: State
    to: str
    policy: Policy
    transport: Transport
    session: str | None
    created_at: float
    ended_at: float | None


class TurnPage(Ours):
    """Turns, the newest first; `next` is the `before` of the next page."""

    turns: list[TurnRow]
    next: str | None


# The roster.


class Level(Ours):
    """How one level was found."""

    state: str
    detail: str | None


class LastTurn(Ours):
    """How the last real turn ended."""

    state: str
    outcome: str | None
    code: str | None
    at: str | None


class PeerLevels(Ours):
    """What holds for a whole peer."""

    network: Level
    proxy: Level
    credential: Level


class ProfileLevels(PeerLevels):
    """What holds for one profile."""

    agent: Level
    turn: LastTurn


class Profile(Ours):
    """One profile of a peer."""

    name: str
    address: str
    state: Health
    since: str | None
    detail: str | None
    agent_version: str | None
    capabilities: list[str]
    levels: ProfileLevels


class Places(Ours):
    """How many turns may run there now, run, and wait."""

    limit: int
    running: int
    waiting: int


class Peer(Ours):
    """One machine, as it was found last."""

    name: str
    host: str
    port: int
    tls: bool
    state: PeerHealth
    since: str | None
    detail: str | None
    round_trip_ms: float | None
    credential: str | None
    draining_since: str | None
    max_turns: int
    levels: PeerLevels
    profiles: list[Profile]
    turns: Places


class Peers(Ours):
    """All of them."""

    peers: list[Peer]


class Group(Ours):
    """A group, and the model id of each mode."""

    name: str
    addresses: list[str]
    models: dict[str, str]


class Groups(Ours):
    """All of them."""

    groups: list[Group]


# The rest.


class AuditEntry(Ours):
    """Something that was refused or changed; `at` in seconds since 1970, `count` times within a minute."""

    id: int
    at: float
    actor: str
    action: str
    subject: str
    outcome: str
    count: int
    request_id: str | None


class AuditPage(Ours):
    """Entries, the newest first; `next` is the `before` of the next page."""

    entries: list[AuditEntry]
    next: int | None


def _one_address(schema: dict[str, Any]) -> None:
    schema["properties"]["target"] |= ADDRESS


class InvocationBody(Invocation):
    """One message to one address."""

    model_config = ConfigDict(json_schema_extra=_one_address)


class Reply(Ours):
    """What one agent said to one message."""

    target: str
    peer: str
    profile: str
    reply: str
    duration_ms: int
    usage: dict[str, Any] | None


class Status(Agents):
    """Whether this process is there, or takes turns; `journal` says why it does not."""

    status: str


DEADLINE = {"type": "integer", "minimum": 1, "maximum": LONGEST_DEADLINE_MS}
