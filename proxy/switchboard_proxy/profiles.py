"""Whether each profile's API server is there and really serves that profile.

A gateway that multiplexes lists the profile's own name below its prefix and refuses a made-up one; a gateway that does
not answers every `/p/<name>/` from its default profile (hermes-agent 0.19.0). So a prefix is believed only after both
questions were asked, and only for a second: no gateway restarts within that.
"""

import asyncio
import secrets
from dataclasses import asdict, dataclass
from typing import Literal, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from switchboard_relay import RelayError, Request

from .errors import AgentUnreachable, ProfileNotServed
from .upstreams import Upstream, Upstreams

BELIEVED_SECONDS = 1.0
"""A gateway needs 1.5 s and more from start to its first answer (hermes-agent 0.19.0)."""
QUESTION_SECONDS = 3.0

_UNREACHABLE = "the agent's API server does not answer: is the gateway running, and is its API_SERVER_KEY set?"

State = Literal["up", "degraded", "unauthorized", "unreachable", "down"]


@dataclass(frozen=True, slots=True)
class ProfileState:
    """One profile as it answers now; `detail` is a sentence where it is not up."""

    name: str
    state: State
    detail: str | None = None
    agent_version: str | None = None


class Profiles:
    """Asks the API servers about their profiles."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams.profiles
        self._made_up = b"/p/no-such-profile-" + secrets.token_hex(4).encode()
        self._believed_until: dict[str, float] = {}

    def is_believed(self, name: str) -> bool:
        """Whether a turn for this profile cannot run as another one, as far as was asked a moment ago."""
        if not self._upstreams[name].prefix:
            return True
        return asyncio.get_running_loop().time() < self._believed_until.get(name, 0.0)

    async def confirm(self, name: str) -> None:
        """Make sure that a turn for this profile cannot run as another one.

        Raises:
            ProfileNotServed: the agent would take it for its default profile, or does not know it.
            AgentUnreachable: the agent cannot be asked.
        """
        now = asyncio.get_running_loop().time()
        state = await self._ask(name, self._upstreams[name])
        if state.state in ("up", "degraded"):
            self._believed_until[name] = now + BELIEVED_SECONDS
        elif state.state == "unreachable":
            raise AgentUnreachable(f"profile {name}: {state.detail}")
        elif state.state == "down":
            raise ProfileNotServed(f"profile {name}: {state.detail}")
        # A wrong key is passed on to the agent, whose 401 says so.

    async def report(self, credential: str | None) -> bytes:
        """Every profile's state, and which of the two passwords was shown by who asks.

        As JSON: `{"credential": "current"|"next", "profiles": [{"name", "state", "detail", "agent_version"}, …]}`.
        """
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self._ask(name, upstream)) for name, upstream in self._upstreams.items()]
        return orjson.dumps({"credential": credential, "profiles": [asdict(task.result()) for task in asked]})

    async def _ask(self, name: str, upstream: Upstream) -> ProfileState:
        try:
            async with asyncio.timeout(QUESTION_SECONDS):
                return await self._judge(name, upstream)
        except (RelayError, TimeoutError):
            return ProfileState(name, "unreachable", _UNREACHABLE)

    async def _judge(self, name: str, upstream: Upstream) -> ProfileState:
        status, models = await _get(upstream, upstream.prefix + b"/v1/models", _Models)
        if status == 401:
            return ProfileState(name, "unauthorized", "the agent refuses the API_SERVER_KEY in this proxy's key file")
        if status != 200 or models is None or not models.data:
            return ProfileState(name, "down", f"the agent answers {status} to /v1/models and no list")
        if upstream.prefix:
            listed = models.data[0].id
            if listed != name:
                return ProfileState(name, "down", f"the agent lists {listed} where it should list {name}")
            status, _ = await _get(upstream, self._made_up + b"/v1/models", _Models)
            if status != 404:
                return ProfileState(
                    name, "down", "the agent answers to any profile name: set multiplex_profiles in its config.yaml"
                )
        return await self._readiness(name, upstream)

    async def _readiness(self, name: str, upstream: Upstream) -> ProfileState:
        """The agent's own view. Its status is always 200; the body tells (hermes-agent 0.19.0)."""
        _, health = await _get(upstream, upstream.prefix + b"/health/detailed", _Health)
        if health is None:
            return ProfileState(name, "degraded", "the agent does not tell whether it is ready")
        if health.status == "ok" and health.gateway_state in (None, "running"):
            return ProfileState(name, "up", agent_version=health.version)
        if health.status == "ok":
            detail = f"the agent's gateway is {health.gateway_state}, not running: it takes no new turns"
            return ProfileState(name, "degraded", detail, health.version)
        failing = [check for check, told in health.readiness.checks.items() if told.status != "ok"]
        detail = f"the agent says that it is not ready: {', '.join(failing) or health.status}"
        return ProfileState(name, "degraded", detail, health.version)


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


class _Check(BaseModel):
    status: str


class _Readiness(BaseModel):
    checks: dict[str, _Check] = {}


class _Health(BaseModel):
    status: str
    version: str | None = None
    readiness: _Readiness = _Readiness()
    gateway_state: str | None = None
    """`draining` while it ends, with `status` still ok and every check too (hermes-agent 0.19.0)."""


Told = TypeVar("Told", bound=BaseModel)


async def _get(upstream: Upstream, target: bytes, shape: type[Told]) -> tuple[int, Told | None]:
    """Status and body of one answer; None where the body has not this shape."""
    request = Request(b"GET", target, ((b"host", upstream.host), (b"authorization", upstream.bearer or b"")))
    async with upstream.pool.exchange(request) as answer:
        body = await answer.read()
    try:
        return answer.status, shape.model_validate_json(body)
    except ValidationError:
        return answer.status, None
