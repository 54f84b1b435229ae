"""Which addresses a feed may be fetched from: a public feed never leads into a private network."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from connect.feeds.rows import FeedBroken

_EMBEDDED: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"))
"""Networks whose last 32 bits are an IPv4 address (RFC 6052, RFC 4291)."""
Resolve = Callable[[str, int], Sequence[str]]


def is_public(text: str) -> bool:
    """Tell whether an address is of the internet, and of no private, local or reserved network, in whatever form."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = _inside(address)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast


def _inside(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _EMBEDDED) and int(address) > 1:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def resolved(host: str, port: int) -> list[str]:
    """Return a host's addresses. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def address_of(host: str, port: int, *, private: bool, resolve: Resolve = resolved) -> str:
    """Return the address to connect to: looked up once, so that a name cannot mean another when it is connected to.

    Raises FeedBroken for a name without addresses, or with private ones alone where those are not allowed.
    """
    try:
        found = resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise FeedBroken(f"expected a host that has an address, got {host!r}: {error}") from error
    allowed = [one for one in found if private or is_public(one)]
    if not allowed:
        raise FeedBroken(
            f"expected a public address, got {host} at {', '.join(found) or 'none'}: a feed of your own network is "
            "added with --private"
        )
    return allowed[0]
