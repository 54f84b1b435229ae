"""Whose pages may change the catalogue: a browser sends what any page tells it to, from inside the site's network."""

from __future__ import annotations

from functools import wraps
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.keys import SETTINGS
from gateway.problems import Refused

_SITE = "Sec-Fetch-Site"
_OWN = frozenset({"same-origin", "none"})
"""What a browser says of a page of this very origin, and of what the visitor asked for by hand."""


def own_pages(handler: Handler) -> Handler:
    """Return a handler that answers 403 to what a page of another origin sends, unless that origin is a setting."""

    @wraps(handler)
    async def checked(request: web.Request) -> web.StreamResponse:
        expect_own_page(request)
        return await handler(request)

    return checked


def expect_own_page(request: web.Request) -> None:
    """Refuse (403) a browser that was sent here by another origin's page. What no browser sends has neither header."""
    if is_own_page(request):
        return
    site, origin = request.headers.get(_SITE), request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin in request.app[SETTINGS].gateway.catalogue_origins:
        return
    raise Refused(
        HTTPStatus.FORBIDDEN,
        f"expected a page of this gateway's own origin, got {(origin or site or '')[:100]!r}: pages of other origins "
        "change the catalogue only where gateway.catalogue_origins names them",
    )


def is_own_page(request: web.BaseRequest) -> bool:
    """Tell whether no page of another origin sent this."""
    site, origin = request.headers.get(_SITE), request.headers.get(hdrs.ORIGIN)
    return site in _OWN or (site is None and (origin is None or _is_own(origin, request.host)))


def _is_own(origin: str, host: str) -> bool:
    """Compare without the scheme: TLS may end before the gateway."""
    scheme, _, named = origin.partition("://")
    return scheme in ("http", "https") and named.lower() == host.lower()
