"""Who changed the catalogue or asked as an admin: a line of the audit log for each such request that had a key."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from contracts.api_keys import Scope
from contracts.errors import StateUnavailable
from contracts.outage import Outage
from gateway.access import access_of
from gateway.changes import TAKEN
from gateway.key_table import Caller
from gateway.keys import CLOCK, SETTINGS
from gateway.metrics import METRICS
from gateway.own_machine import CALLER
from state import audit
from state.audit import AsyncAuditLog, Entry

log = logging.getLogger("nextclick.gateway")

WITHIN_S: Final = 1.0
"""How long an answer waits for its line. One that is not written by then is counted, and the answer goes out."""
_FORWARDED: Final = "X-Forwarded-For"
_SETTLE_S: Final = 1.0


class Audit:
    """Writes lines, and counts those that were lost."""

    def __init__(self, log_: AsyncAuditLog) -> None:
        self._log = log_
        self._outage = Outage(log, "the audit log: ", settle_s=_SETTLE_S)
        self.lost = 0

    async def note(self, about: str, entry: Entry) -> None:
        """Write a line. Raises nothing: the log may be away while the rest is not."""
        try:
            await self._log.append(about, entry)
            self._outage.over()
        except StateUnavailable as error:
            self.lost += 1
            self._outage.failed(error)

    async def close(self) -> None:
        await self._log.close()


@web.middleware
async def audited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer once what was done stands in the audit log."""
    response = await handler(request)
    caller = request.get(CALLER)
    if caller is None:
        return response
    access = access_of(request)
    if access.audited:
        about = audit.ADMIN if access.scope is Scope.ADMIN else audit.CATALOGUE
        await request.app[AUDIT].note(about, _entry(request, caller, response.status))
    return response


async def audit_log(app: web.Application) -> AsyncIterator[None]:
    """The audit log, which is written where keys are asked."""
    written = app[AUDIT] = Audit(AsyncAuditLog(app[SETTINGS].redis, within_s=WITHIN_S))
    app[METRICS].total("audit_lost", "Lines that the audit log did not take.", {}, lambda: written.lost)
    yield
    await written.close()


def _entry(request: web.Request, caller: Caller, status: int) -> Entry:
    taken = request.get(TAKEN)
    said = f"{status}" if taken is None else f"{status}, {taken.accepted} taken: {', '.join(taken.first)}"
    forwarded = request.headers.get(_FORWARDED)
    source = request.remote or "?"
    what = f"{request.method} {request.rel_url.raw_path}"
    if access_of(request).names_nobody:
        what = audit.masked_path(what, lambda _: True) or request.method
    return Entry(
        request.app[CLOCK](),
        caller.key_id,
        what,
        source if forwarded is None else f"{source}, forwarded for {forwarded}",
        said,
    )


AUDIT = web.AppKey("audit", Audit)
