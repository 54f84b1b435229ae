"""Requests that only the machine itself may send, or whoever has an admin key: what admins see."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import hdrs, web

from contracts.addresses import host_name, is_loopback
from contracts.api_keys import Scope
from gateway.key_table import Caller
from gateway.problems import Refused

FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
"""Headers that say that somebody else asked somebody on this machine."""


CALLER = web.RequestKey("caller", Caller)
"""Of a request: who sent it, where a key was asked for."""


def expect_own_machine(request: web.Request) -> None:
    """Refuse (403) a request that came from another machine, through a proxy that says so, or from a web page: unless
    it brought an admin key, which is looked at where keys are asked.
    """
    caller = request.get(CALLER)
    if caller is not None and Scope.ADMIN in caller.scopes:
        return
    if not is_loopback(request.remote or ""):
        raise _forbidden(f"your address is {request.remote}")
    for name in FORWARDED:
        if name in request.headers:
            raise _forbidden(f"the request was forwarded, as its header {name} says")
    host = host_name(request.host)
    if not is_loopback(host):  # a page whose name was made to lead here
        raise _forbidden(f"the request names the host {host[:100]!r}")
    if hdrs.ORIGIN in request.headers or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise _forbidden("a web page asked")


def _forbidden(why: str) -> Refused:
    return Refused(
        HTTPStatus.FORBIDDEN,
        f"expected a request from the gateway's own machine, to a loopback address and not forwarded; {why}: "
        "ask there, or use `nextclick dead-letters`",
    )
