"""`GET /api/audit`: the audit log as JSON, newest first, for keys with the scope `admin`."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from switchboard_coordinator.errors import MalformedRequest
from switchboard_coordinator.keys.asked import Asked
from switchboard_coordinator.keys.audit import Audit
from switchboard_coordinator.keys.scopes import ADMIN

LONGEST_PAGE = 1000


class AuditSurface:
    """Tells what was refused and what was changed."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    async def page(self, request: Request) -> Response:
        """`?limit=` rows (100, at most 1000) older than `?before=`; `next` is the `before` of the next page, or null.

        Raises:
            InsufficientScope: the key is not an admin's.
            MalformedRequest: one of the numbers is none.
        """
        Asked.of(request.scope).require(ADMIN)
        limit = _number(request, "limit") or 100
        if limit > LONGEST_PAGE:
            raise MalformedRequest(f"`limit` is at most {LONGEST_PAGE}", param="limit")
        entries = await self._audit.page(before=_number(request, "before"), limit=limit)
        return JSONResponse({"entries": entries, "next": entries[-1]["id"] if len(entries) == limit else None})


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:18]) > 0 and len(text) <= 18):
        raise MalformedRequest(f"`{name}` is a whole number from 1 on", param=name)
    return int(text)
