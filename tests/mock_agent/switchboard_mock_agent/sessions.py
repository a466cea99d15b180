"""The stored sessions of an agent, by profile and id, and the route that shows one.

They outlive a restart, as the real one's database does.
"""

import itertools
import time
from typing import Any

from aiohttp import web

from . import answers
from .door import profile_of
from .gateway import Gateway
from .record import Message
from .work import ToolCompleted, ToolStarted


class Sessions:
    """Messages in the members and the order of `GET /api/sessions/{id}/messages`.

    With `keep`, no more than so many sessions are kept, and of each the newest messages.
    """

    def __init__(self, keep: int | None = None) -> None:
        self._keep = keep
        self._messages: dict[tuple[str, str], list[Message]] = {}
        self._ids = itertools.count(1)

    def messages(self, profile: str, session: str) -> list[Message] | None:
        """All that was said; None for a session that nobody used."""
        return self._messages.get((profile, session))

    def history(self, profile: str, session: str) -> list[Message]:
        """What the model is told of it."""
        return [{"role": it["role"], "content": it["content"]} for it in self.messages(profile, session) or ()]

    def keep(self, profile: str, session: str, role: str, content: str, **more: Any) -> None:
        """Add a message."""
        message: Message = {"id": next(self._ids), "session_id": session, "role": role, "content": content}
        message |= dict.fromkeys(("tool_call_id", "tool_calls", "tool_name"))
        message |= {"timestamp": time.time(), "token_count": None}
        message |= dict.fromkeys(("finish_reason", "reasoning", "reasoning_content"))
        messages = self._messages.setdefault((profile, session), [])
        messages.append(message | more)
        if self._keep is not None:
            if len(messages) > 2 * self._keep:
                del messages[: -self._keep]
            while len(self._messages) > self._keep:
                del self._messages[next(iter(self._messages))]

    def keep_call(self, profile: str, session: str, step: ToolStarted) -> None:
        """The agent asks for a tool."""
        ids = {"id": step.call, "call_id": step.call, "response_item_id": step.call.replace("call_", "fc_")}
        call = {**ids, "type": "function", "function": {"name": step.tool, "arguments": step.arguments}}
        self.keep(profile, session, "assistant", "", tool_calls=[call], finish_reason="tool_calls")

    def keep_result(self, profile: str, session: str, step: ToolCompleted) -> None:
        """The tool answers."""
        self.keep(profile, session, "tool", step.output, tool_call_id=step.call, tool_name=step.tool)


class SessionSurface:
    """The route."""

    def __init__(self, sessions: Sessions, gateway: Gateway) -> None:
        self._sessions = sessions
        self._gateway = gateway

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/sessions/{session}/messages`."""
        session = request.match_info["session"]
        found = self._sessions.messages(profile_of(request, self._gateway), session)
        if found is None:
            return answers.error(404, f"Session not found: {session}", code="session_not_found")
        return answers.answer({"object": "list", "session_id": session, "data": found})
