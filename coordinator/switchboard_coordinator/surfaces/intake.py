"""Makes an asking of a request: who is asked, whether its consumer may, on what terms. Refuses what is malformed."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.types import Scope

from switchboard_coordinator.address import Address, AddressError, Group, parse_target
from switchboard_coordinator.chat import ChatRequest
from switchboard_coordinator.errors import MalformedRequest, ModelNotFound
from switchboard_coordinator.groups.routing import plan
from switchboard_coordinator.keys.asked import Asked
from switchboard_coordinator.options import Options, parse_options
from switchboard_coordinator.peers.admission import Admission
from switchboard_coordinator.peers.roster import Roster
from switchboard_coordinator.turn import Policy, Transport
from switchboard_coordinator.turns import session
from switchboard_coordinator.turns.asking import Asking, digest_of
from switchboard_coordinator.turns.sessions import Sessions

from .terms import Terms, terms_of


class TurnRequest(BaseModel):
    """The body of `POST /api/turns`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    to: str = Field(min_length=1, description="`profile@peer`, `peer`, or `mode@group`.")
    text: str | None = Field(None, min_length=1, description="What is asked; or `messages`.")
    messages: list[dict[str, object]] | None = Field(None, min_length=1, description="As for chat completions.")
    policy: Policy = Field("detach", description="What happens when its last reader leaves.")
    transport: Transport | None = Field(None, description="How peers are asked; else as their configuration says.")
    deadline_ms: int | None = Field(None, ge=1, le=24 * 3600 * 1000)
    session: str | None = Field(None, min_length=1, max_length=256)
    answers: Literal["sections", "choices"] | None = None
    quorum: int | None = Field(None, ge=1)
    chair: str | None = None
    switchboard: dict[str, object] | None = Field(None, description="The three above, as in chat completions.")

    @model_validator(mode="after")
    def _one_question(self) -> "TurnRequest":
        if (self.text is None) == (self.messages is None):
            raise ValueError("give `text` or `messages`, one of them")
        return self


class Intake:
    """Reads what clients ask for."""

    def __init__(self, roster: Roster, admission: Admission, sessions: Sessions, chairs: Mapping[str, Address]) -> None:
        """`chairs` is whom the operator made a group's chair."""
        self._roster = roster
        self._admission = admission
        self._sessions = sessions
        self._chairs = chairs

    async def chat(self, scope: Scope, body: bytes) -> Asking:
        """The turn that a chat completion asks for.

        Raises:
            SwitchboardError: it is malformed, or its consumer may not.
        """
        terms = terms_of(scope["headers"])
        chat = ChatRequest.parse(body, terms.to)
        digest = digest_of(body, (terms.to or "").encode()) if terms.key is not None else None
        return await self._asking(scope, chat, chat.options, terms, "cancel", digest, can_approve=False)

    async def turn(self, scope: Scope, body: bytes) -> Asking:
        """The turn that `POST /api/turns` asks for.

        Raises:
            SwitchboardError: it is malformed, or its consumer may not.
        """
        try:
            wanted = TurnRequest.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            words = f"`{place}`: {first['msg']}" if place else first["msg"].removeprefix("Value error, ")
            raise MalformedRequest(words, param=place or None) from None
        terms = terms_of(scope["headers"])
        digest = digest_of(body) if terms.key is not None else None
        given = {name: getattr(wanted, name) for name in ("answers", "quorum", "chair")}
        told = {name: value for name, value in given.items() if value is not None}
        options = parse_options({**(wanted.switchboard or {}), **told})
        terms = replace(
            terms,
            policy=terms.policy or wanted.policy,
            transport=wanted.transport or terms.transport,
            deadline_ms=wanted.deadline_ms or terms.deadline_ms,
            session=wanted.session or terms.session,
        )
        messages = wanted.messages or [{"role": "user", "content": wanted.text}]
        chat = ChatRequest.parse(json.dumps({"model": wanted.to, "messages": messages, "stream": True}).encode())
        return await self._asking(scope, chat, options, terms, "detach", digest, can_approve=True)

    async def message(self, scope: Scope, target: str, text: str) -> Asking:
        """The turn for one message to one target.

        Raises:
            SwitchboardError: it is malformed, or its consumer may not.
        """
        messages = [{"role": "user", "content": text}]
        chat = ChatRequest.parse(json.dumps({"model": target, "messages": messages}).encode())
        return await self._asking(scope, chat, Options(), Terms(), "cancel", None, can_approve=False)

    async def _asking(
        self,
        scope: Scope,
        chat: ChatRequest,
        options: Options,
        terms: Terms,
        policy: Policy,
        digest: bytes | None,
        *,
        can_approve: bool,
    ) -> Asking:
        asked = Asked.of(scope)
        try:
            target = parse_target(chat.model)
        except AddressError as error:
            raise ModelNotFound(str(error)) from None
        asked.require(target)
        before = None
        if terms.session is not None:
            before = await self._sessions.of(asked.consumer, terms.session)
        may_move = terms.is_move or asked.who.moves == "follow"
        route = plan(
            chat.model,
            self._roster.now,
            options,
            busy=self._busy() if isinstance(target, Group) else {},
            sticky=Address.of(before.home) if before is not None else None,
            is_bound=not may_move,
            chairs=self._chairs,
        )
        if options.chair is not None:
            asked.require(options.chair)
        headers = session.to_peer(
            scope["headers"], consumer=asked.consumer, request_id=asked.request_id, session=terms.session
        )
        return Asking(
            chat=chat,
            plan=route,
            headers=tuple(headers),
            policy=terms.policy or policy,
            transport=terms.transport,
            session=terms.session,
            key=terms.key,
            digest=digest,
            deadline_ms=terms.deadline_ms,
            can_approve=can_approve,
            asked=asked,
            before=before,
            may_move=may_move,
        )

    def _busy(self) -> dict[str, int]:
        """How many turns each peer has, running or waiting."""
        admission = self._admission
        return {name: admission.running(name) + admission.waiting(name) for name in self._roster.now.peers}
