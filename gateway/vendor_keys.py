"""Keys of ours that come as trackers of others send theirs: as the user of Basic authentication, in an address, or in
Segment's body.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

import orjson
from aiohttp import web

from contracts.api_keys import Scope
from gateway.key_table import Caller
from gateway.problems import Refused
from gateway.wire import BEACON_TYPES, read_body

IN_ADDRESS: Final = ("api_secret", "token_auth")
"""What the Measurement Protocol and Matomo's API call the parameter that holds a key."""
_LONGEST: Final = 1000
_BOM: Final = b"\xef\xbb\xbf"


class VendorKey(NamedTuple):
    """The text of a key, and whether it stood in an address."""

    key: str
    in_address: bool


def key_of(authorization: str | None, query: Mapping[str, str]) -> VendorKey | None:
    """Return the key of a request that brings it in a vendor's way, None where none does.

    `Basic` is read as Segment's API writes it: the key is the user, and the password is empty.
    """
    if authorization is None:
        found = next((query[name] for name in IN_ADDRESS if name in query), None)
        return None if found is None else VendorKey(found, in_address=True)
    kind, _, text = authorization.partition(" ")
    if kind.lower() != "basic" or len(text) > _LONGEST:
        return None
    try:
        user = b64decode(text.strip(" "), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return None
    return VendorKey(user, in_address=False)


BODY: Final = web.RequestKey("body that was read for its key", bytes)
IN_BODY: Final = "segment"
"""The vendor whose bodies bring a key."""
_UNREADABLE: Final = frozenset((HTTPStatus.BAD_REQUEST, HTTPStatus.UNSUPPORTED_MEDIA_TYPE))


async def key_in_body(request: web.Request) -> VendorKey | None:
    """Return the `writeKey` of Segment's body, None where it has none. What was read stays with the request (`BODY`).
    Raises Refused where a body comes too slowly or is too large.
    """
    try:
        raw = request[BODY] = await read_body(request, BEACON_TYPES)
        found = orjson.loads(raw.removeprefix(_BOM))
    except orjson.JSONDecodeError:
        return None
    except Refused as error:
        if error.status in _UNREADABLE:
            return None
        raise
    key = found.get("writeKey") if isinstance(found, dict) else None
    return VendorKey(key, in_address=False) if isinstance(key, str) and 0 < len(key) <= _LONGEST else None


def expect_narrow(caller: Caller, key: VendorKey) -> Caller:
    """Expect a key that stood in an address to open events alone: addresses are logged on their way. Raises Refused."""
    if key.in_address and caller.scopes != {Scope.EVENTS}:
        detail = (
            "expected a key of scope events alone, as it stands in the address, got one of "
            f"{', '.join(sorted(caller.scopes))}: make another with `nextclick keys create`, and rotate this one"
        )
        raise Refused(HTTPStatus.FORBIDDEN, detail)
    return caller
