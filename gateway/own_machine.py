"""Requests that only the machine itself may send: what admins see, as long as there are no keys."""

from __future__ import annotations

from http import HTTPStatus
from ipaddress import ip_address

from aiohttp import hdrs, web

from gateway.problems import Refused

FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
"""Headers that say that somebody else asked somebody on this machine."""


def expect_own_machine(request: web.Request) -> None:
    """Refuse (403) a request that came from another machine, through a proxy that says so, or from a web page."""
    if not _is_loopback(request.remote or ""):
        raise _forbidden(f"your address is {request.remote}")
    for name in FORWARDED:
        if name in request.headers:
            raise _forbidden(f"the request was forwarded, as its header {name} says")
    host = _host_of(request.host)
    if host != "localhost" and not _is_loopback(host):  # a page whose name was made to lead here
        raise _forbidden(f"the request names the host {host[:100]!r}")
    if hdrs.ORIGIN in request.headers or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise _forbidden("a web page asked")


def _forbidden(why: str) -> Refused:
    return Refused(
        HTTPStatus.FORBIDDEN,
        f"expected a request from the gateway's own machine, to a loopback address and not forwarded; {why}: "
        "ask there, or use `nextclick dead-letters`",
    )


def _host_of(host: str) -> str:
    """Return the name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_loopback(address: str) -> bool:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
