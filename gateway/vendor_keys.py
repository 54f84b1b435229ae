"""Keys of ours that come as trackers of others send theirs: as the user of Basic authentication, or in an address."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

from contracts.api_keys import Scope
from gateway.key_table import Caller
from gateway.problems import Refused

IN_ADDRESS: Final = ("api_secret", "token_auth")
"""What the Measurement Protocol and Matomo's API call the parameter that holds a key."""
_LONGEST: Final = 1000


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


def expect_narrow(caller: Caller, key: VendorKey) -> Caller:
    """Expect a key that stood in an address to open events alone: addresses are logged on their way. Raises Refused."""
    if key.in_address and caller.scopes != {Scope.EVENTS}:
        detail = (
            "expected a key of scope events alone, as it stands in the address, got one of "
            f"{', '.join(sorted(caller.scopes))}: make another with `nextclick keys create`, and rotate this one"
        )
        raise Refused(HTTPStatus.FORBIDDEN, detail)
    return caller
