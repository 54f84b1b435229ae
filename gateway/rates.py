"""How often one caller may ask: a leaky bucket each, in the memory of this process. What is too much is 429.

A count that all processes shared would cost every request a round trip to Redis; this costs two microseconds, and
nothing where no rate is set. So a rate is one process's: connections are dealt out among processes, whole.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv6Address, IPv6Network, ip_address
from math import ceil
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiolimiter import AsyncLimiter

from gateway.problems import Refused
from gateway.settings import GatewayOptions

FREE: Final = frozenset({"/healthz", "/readyz"})
"""Paths that are not counted: whoever watches a process must not lose sight of it because others ask much."""

MOST_CALLERS: Final = 20_000
"""Callers that are remembered; the one that has asked nothing for longest is forgotten, and begins afresh."""

_LONGEST_ORIGIN: Final = 300
_NEIGHBOURS: Final = 64
"""Bits of an IPv6 address that one customer has all of."""


class Rate:
    """So many requests a second for each of many callers, by name, and so many at once."""

    def __init__(self, who: str, per_s: float, burst: int = 0, most: int = MOST_CALLERS) -> None:
        """`who` is what a name stands for, for messages. `burst` requests may come at once; 0 is twice the rate."""
        self._who, self._per_s = who, per_s
        self._burst = burst or max(1, ceil(2 * per_s))
        self._most = most
        self._buckets: OrderedDict[str, AsyncLimiter] = OrderedDict()

    async def take(self, name: str) -> None:
        """Count a request of a caller. Raises Refused (429) for one too many, which is not counted. Never waits."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = AsyncLimiter(self._burst, self._burst / self._per_s)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        if not bucket.has_capacity():
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"expected at most {self._per_s:g} requests a second of one {self._who}, {self._burst} at once: ask "
                "less often",
                headers={"Retry-After": str(ceil(min(3600.0, max(1.0, 1 / self._per_s))))},
            )
        await bucket.acquire()


class Rates:
    """The rates that are set; None is no limit."""

    def __init__(self, options: GatewayOptions) -> None:
        self.address = Rate("address", options.address_rate, options.address_burst) if options.address_rate else None
        self.key = Rate("API key", options.key_rate, options.key_burst) if options.key_rate else None
        self.origin = Rate("origin", options.origin_rate, options.origin_burst) if options.origin_rate else None
        self.of_callers = self.address is not None or self.origin is not None
        """Whether any is counted before it is known who sent a request."""


RATES = web.AppKey("rates", Rates)


async def take_address(request: web.BaseRequest, rates: Rates) -> None:
    """Count a request of the address that it came from. Raises Refused (429)."""
    if rates.address is not None:
        await rates.address.take(caller_at(request.remote or ""))


async def take_origin(request: web.BaseRequest, rates: Rates) -> None:
    """Count a request of the page's origin that it came from. Raises Refused (429). Only browsers name one."""
    if rates.origin is not None and (origin := request.headers.get(hdrs.ORIGIN)) is not None:
        await rates.origin.take(origin[:_LONGEST_ORIGIN])


async def take_key(name: str, rates: Rates) -> None:
    """Count a request of the API key that it was sent with, by its id. Raises Refused (429)."""
    if rates.key is not None:
        await rates.key.take(name)


@web.middleware
async def hold_rates(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 429 to who asks too often."""
    if request.path not in FREE:
        await take_address(request, request.app[RATES])
        await take_origin(request, request.app[RATES])
    return await handler(request)


def caller_of(transport: asyncio.BaseTransport) -> str:
    """Return who is at the other end of a connection; empty where that is no address."""
    peer = transport.get_extra_info("peername")
    return caller_at(str(peer[0])) if isinstance(peer, tuple) else ""


@lru_cache(maxsize=MOST_CALLERS)
def caller_at(address: str) -> str:
    """Return what all addresses of one customer have in common: an IPv4 address, the first half of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    assert isinstance(found, IPv6Address)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found), _NEIGHBOURS), strict=False).network_address)
