"""Cursors: what a list has shown so far, signed, carried by the client. A request that brings one gets the rest."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import numpy as np

MOST_SHOWN: Final = 2000
"""Items that a cursor remembers: after so many a list ends."""
MOST_CHARACTERS: Final = 22_000
_VERSION: Final = b"\x01"
_SIGNED: Final = 12


def encode_cursor(secret: bytes, scenario: str, session_id: str, keys: Sequence[int]) -> str | None:
    """Return a cursor of the item keys that were shown, of one visitor's list; None where there are too many."""
    if len(keys) > MOST_SHOWN:
        return None
    told = _VERSION + np.array(keys, "<u8").tobytes()
    return urlsafe_b64encode(told + _signature(secret, scenario, session_id, told)).rstrip(b"=").decode()


def decode_cursor(secret: bytes, scenario: str, session_id: str, cursor: str) -> tuple[int, ...]:
    """Return the keys that a cursor tells. Raises ValueError for one that was not made for this list, or changed."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except (NotBase64, UnicodeEncodeError, ValueError) as error:
        raise ValueError(_WRONG) from error
    told, signature = raw[:-_SIGNED], raw[-_SIGNED:]
    expected = _signature(secret, scenario, session_id, told)
    if not hmac.compare_digest(signature, expected) or told[:1] != _VERSION or len(told) % 8 != 1:
        raise ValueError(_WRONG)
    keys: list[int] = np.frombuffer(told, "<u8", offset=1).tolist()
    return tuple(keys)


_WRONG: Final = "expected the cursor of an answer to this session and scenario: ask without one to begin anew"


def _signature(secret: bytes, scenario: str, session_id: str, told: bytes) -> bytes:
    named = f"{scenario}\0{session_id}\0".encode()
    return blake2b(named + told, key=secret, digest_size=_SIGNED).digest()
