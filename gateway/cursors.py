"""Cursors: what a list has shown so far, carried by the client. A request that brings one gets the rest.

Each is bound to the request that it continues: one of another is refused.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np

MOST_SHOWN: Final = 2000
"""Items that a cursor remembers: after so many a list ends."""
MOST_CHARACTERS: Final = 22_000
_VERSION: Final = b"\x01"
_SIGNED: Final = 12


class Listed(NamedTuple):
    """The list of recommendations that a cursor continues. Who asks and where may change: a visitor logs in."""

    scenario: str
    session_id: str
    item_id: str | None = None
    filter: str | None = None


def encode_cursor(secret: bytes, listed: Listed, keys: Sequence[int]) -> str | None:
    """Return a cursor of the item keys that were shown of a list; None where there are too many."""
    if len(keys) > MOST_SHOWN:
        return None
    told = _VERSION + np.array(keys, "<u8").tobytes()
    return urlsafe_b64encode(told + _signature(secret, listed, told)).rstrip(b"=").decode()


def decode_cursor(secret: bytes, listed: Listed, cursor: str) -> tuple[int, ...]:
    """Return the keys that a cursor tells. Raises ValueError for one that was not made for this list, or changed."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except (NotBase64, UnicodeEncodeError, ValueError) as error:
        raise ValueError(_WRONG) from error
    told, signature = raw[:-_SIGNED], raw[-_SIGNED:]
    expected = _signature(secret, listed, told)
    if not hmac.compare_digest(signature, expected) or told[:1] != _VERSION or len(told) % 8 != 1:
        raise ValueError(_WRONG)
    keys: list[int] = np.frombuffer(told, "<u8", offset=1).tolist()
    return tuple(keys)


_WRONG: Final = (
    "expected the cursor of an answer to this session, scenario, item_id and filter: ask without one to begin anew"
)


def _signature(secret: bytes, listed: Listed, told: bytes) -> bytes:
    return blake2b(_named(listed) + told, key=secret, digest_size=_SIGNED).digest()


def encode_place(last: int, *asked: str | None) -> str:
    """Return a cursor of a page of the catalogue: the last key that was looked at, of what was asked for."""
    return f"{last:016x}{_asked(asked)}"


def decode_place(cursor: str, *asked: str | None) -> int:
    """Return the last key that was looked at. Raises ValueError where something else was asked for."""
    if cursor[16:] != _asked(asked):
        raise ValueError(
            "expected the cursor of a page to this `filter` and `category`, got one of others: ask without a cursor to "
            "begin anew, or with what its page was asked with"
        )
    return int(cursor[:16], 16)


def _asked(asked: Sequence[str | None]) -> str:
    return blake2b(_named(asked), digest_size=8).hexdigest()


def _named(parts: Sequence[str | None]) -> bytes:
    """Return texts end to end, no two of them the same bytes as two others."""
    return "".join("-" if part is None else f"{len(part)}:{part}" for part in parts).encode(errors="surrogatepass")
