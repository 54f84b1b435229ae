"""Which other origins may call from a browser: those of a setting, and the pages that a public key is for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.key_table import KeyTable
from gateway.origins import is_own_page
from gateway.problems import Refused

Allows = Callable[[web.BaseRequest, str], bool]
"""Tells whether pages of an origin may send a request."""

METHODS = "GET, POST, PUT, PATCH, DELETE"
MAX_AGE_S = 600
_OF_PUBLIC_KEYS = ("/api/events", "/api/collect/", "/api/recommendations/", "/api/pages", "/ofrep/v1/evaluate/flags")
_TOLD = f"{hdrs.RETRY_AFTER}, {hdrs.ETAG}, {hdrs.DATE}"
"""Headers of an answer that a page may read. By the date the tag knows a clock that is wrong."""
_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
"""Answers that a page of any origin may read: they say what to do, and nothing else."""
_OF_USERS, _DO_NOT_SHOW = "/api/users/", "/do-not-show"


def allows(origins: tuple[str, ...], keys: KeyTable | None) -> Allows:
    """Return who may call: `origins` everything that their pages have a key for, others what their public key opens."""

    def may(request: web.BaseRequest, origin: str) -> bool:
        if "*" in origins or origin in origins:
            return True
        return keys is not None and origin in keys.origins and _is_public(request.path)

    return may


def _is_public(path: str) -> bool:
    return path.startswith(_OF_PUBLIC_KEYS) or (path.startswith(_OF_USERS) and path.endswith(_DO_NOT_SHOW))


def preflights(allowed: Allows) -> Middleware:
    """Return a middleware that answers preflight requests of allowed origins (204)."""

    @web.middleware
    async def answer_preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
        asks = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        origin = request.headers.get(hdrs.ORIGIN)
        if not asks or origin is None or not allowed(request, origin):
            return await handler(request)
        wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "Content-Type")
        headers = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: wanted,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(MAX_AGE_S),
        }
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)

    return answer_preflight


def hold_origins(allowed: Allows) -> Middleware:
    """Return a middleware that refuses (403) what pages of other origins send, in words that the page may read. It
    stands where no keys are asked: else a page's key says for which origins it is.
    """

    @web.middleware
    async def hold(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not _is_public(request.path) or is_own_page(request) or allowed(request, origin):
            return await handler(request)
        raise Refused(
            HTTPStatus.FORBIDDEN,
            f"expected a page of an origin that may call this gateway, got {origin[:100]!r}: name it in "
            "gateway.cors_origins, or ask for keys (gateway.keys) and make one for its pages "
            "(`nextclick keys create --public --origin`)",
            headers={hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin},
        )

    return hold


def allow_origins(allowed: Allows) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return a signal that tells the browser that the page's origin may read the answer."""

    async def allow(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return
        if allowed(request, origin) or (response.status in _REFUSALS and _is_public(request.path)):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _TOLD

    return allow
