"""What each endpoint asks of whoever calls it: the one table for the guard, the audit log and the API document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from contracts.api_keys import Scope


@dataclass(frozen=True, slots=True)
class Access:
    """`scope`: what a key must hold where keys are asked; None lets everybody in. `any_host`: answered whatever name
    the request calls this machine by. `own_machine`: the machine itself needs no key. `audited`: goes into the audit
    log. `query`: a public key may stand in the address, as a beacon has no headers. `names_nobody`: its line in the
    audit log does not say of whom it was. `vendors`: the key may come the way that trackers of others send theirs
    (`gateway.vendor_keys`).
    """

    scope: Scope | None
    any_host: bool = False
    own_machine: bool = False
    audited: bool = False
    query: bool = False
    names_nobody: bool = False
    vendors: bool = False


_WRITES: Final = Access(Scope.CATALOGUE, audited=True)
_ERASES: Final = Access(Scope.ADMIN, audited=True, names_nobody=True)
_ANYBODY: Final = Access(None)
_PROBE: Final = Access(None, any_host=True)

ACCESS: Final[Mapping[str, Access]] = {
    "POST /api/events": Access(Scope.EVENTS, query=True),
    "POST /api/collect/{vendor}": Access(Scope.EVENTS, query=True, vendors=True),
    "POST /api/recommendations/{scenario}": Access(Scope.RECOMMEND, query=True),
    "POST /api/pages": Access(Scope.RECOMMEND, query=True),
    "POST /api/campaigns/check": Access(Scope.CATALOGUE, audited=True),
    "POST /ofrep/v1/evaluate/flags": Access(Scope.RECOMMEND, query=True),
    "POST /ofrep/v1/evaluate/flags/{key}": Access(Scope.RECOMMEND, query=True),
    "GET /api/scenarios": Access(Scope.CATALOGUE),
    "GET /api/scenarios/{scenario}": Access(Scope.CATALOGUE),
    "PUT /api/scenarios/{scenario}": _WRITES,
    "DELETE /api/scenarios/{scenario}": _WRITES,
    "GET /api/scenarios/{scenario}/versions": Access(Scope.CATALOGUE),
    "POST /api/scenarios/{scenario}/rollback": _WRITES,
    "POST /api/scenarios/{scenario}/preview": Access(Scope.CATALOGUE),
    "POST /api/scenarios/{scenario}/why-not": Access(Scope.CATALOGUE),
    "GET /api/experiments": Access(Scope.CATALOGUE),
    "GET /api/experiments/{experiment}": Access(Scope.CATALOGUE),
    "PUT /api/experiments/{experiment}": _WRITES,
    "DELETE /api/experiments/{experiment}": _WRITES,
    "GET /api/experiments/{experiment}/versions": Access(Scope.CATALOGUE),
    "POST /api/experiments/{experiment}/rollback": _WRITES,
    "POST /api/experiments/{experiment}/stop": _WRITES,
    "POST /api/experiments/{experiment}/promote": _WRITES,
    "GET /api/items": Access(Scope.CATALOGUE),
    "GET /api/items/{item_id}/insight": Access(Scope.CATALOGUE),
    "POST /api/items": _WRITES,
    "GET /api/items/{item_id}": Access(Scope.CATALOGUE),
    "PUT /api/items/{item_id}": _WRITES,
    "PATCH /api/items/{item_id}": _WRITES,
    "DELETE /api/items/{item_id}": _WRITES,
    "POST /api/stock": _WRITES,
    "GET /api/sessions": Access(Scope.CATALOGUE, audited=True),
    "GET /api/sessions/{session_id}": Access(Scope.CATALOGUE, audited=True),
    "DELETE /api/sessions/{session_id}": _ERASES,
    "GET /api/erasures/{erasure_id}": Access(Scope.ADMIN, audited=True),
    "GET /api/users/{user_id}": Access(Scope.CATALOGUE, audited=True),
    "PUT /api/users/{user_id}": _WRITES,
    "PATCH /api/users/{user_id}": _WRITES,
    "DELETE /api/users/{user_id}": _ERASES,
    "GET /api/users/{user_id}/export": Access(Scope.ADMIN, audited=True),
    "GET /api/users/{user_id}/consent": Access(Scope.CATALOGUE, audited=True),
    "PUT /api/users/{user_id}/consent": _WRITES,
    "POST /api/users/{user_id}/do-not-show": Access(Scope.RECOMMEND, query=True),
    "DELETE /api/users/{user_id}/do-not-show": Access(Scope.RECOMMEND, query=True),
    "GET /api/dead-letters": Access(Scope.ADMIN, any_host=True, audited=True),  # it looks at the host itself
    "GET /api/kpi": Access(Scope.CATALOGUE),
    "GET /api/quality": Access(Scope.CATALOGUE),
    "GET /api/live": Access(Scope.ADMIN),
    "GET /api/system": Access(Scope.ADMIN),
    "GET /api/feeds": Access(Scope.ADMIN),
    "GET /api/webhooks": Access(Scope.ADMIN),
    "GET /api/models": Access(Scope.ADMIN),
    "POST /api/models/{version}/publish": Access(Scope.ADMIN, audited=True),
    "POST /api/models/rollback": Access(Scope.ADMIN, audited=True),
    "POST /api/models/pin": Access(Scope.ADMIN, audited=True),
    "GET /metrics": Access(Scope.ADMIN, own_machine=True),
    "GET /healthz": _PROBE,
    "GET /readyz": _PROBE,
    "GET /openapi.json": _ANYBODY,
    "GET /docs": _ANYBODY,
    "GET /docs/{name}": _ANYBODY,
    "GET /console": _ANYBODY,
    "GET /console/{name}": _ANYBODY,
    "GET /console/{name}/{one}": _ANYBODY,
    "GET /nextclick.js": _ANYBODY,
    "GET /nextclick-{hash}.js": _ANYBODY,
    "GET /": _ANYBODY,
    "GET /demo/{name}": _ANYBODY,
}
"""By endpoint: method and path, as the routes and the API document write them."""

UNDECLARED: Final = Access(Scope.ADMIN)
"""What an endpoint asks that nobody thought of."""


def access_of(request: web.Request) -> Access:
    """Return what the endpoint asks that a request was matched with."""
    resource = request.match_info.route.resource
    method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
    return ACCESS.get(f"{method} {resource.canonical}", UNDECLARED) if resource is not None else UNDECLARED
