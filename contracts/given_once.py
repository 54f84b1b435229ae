"""Names that a JSON document gives twice: decoders keep the last value without a word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import orjson

LARGEST: Final = 250_000
"""Bytes of a document in which the places are looked for: 1 ms for each 12 KB of small objects. In larger ones names
are counted, 1 ms for each 60 KB: that one stands twice is said, and not where.
"""

Place = tuple[str | int, ...]


class _Twice(dict[str, Any]):
    """A JSON object in which some names were given more than once."""

    twice: tuple[str, ...] = ()


def given_twice(raw: bytes, document: object) -> list[Place]:
    """Return the place of each name that an object of a JSON document gives more than once, in order.

    `raw` was decoded before, as `document`: what is nested deeper than Python goes has no such names here. 20 us for a
    scenario of 1 KB. Of a document above LARGEST the one place is the whole of it.
    """
    if len(raw) > LARGEST:
        return [()] if _has_twice(raw, document) else []
    found: list[_Twice] = []

    def read(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        whole = dict(pairs)
        if len(whole) == len(pairs):
            return whole
        names = [name for name, _ in pairs]
        one = _Twice(whole)
        one.twice = tuple(name for name in whole if names.count(name) > 1)
        found.append(one)
        return one

    try:
        document = json.loads(raw, object_pairs_hook=read, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return []
    return list(_places(document, ())) if found else []


def _has_twice(raw: bytes, document: object) -> bool:
    """Say whether decoding a JSON document lets go of a name: there are fewer in what it is as text again."""
    try:
        again = orjson.dumps(document)
    except orjson.JSONEncodeError:  # nested too deep
        return False
    return _names(raw) != _names(again)


def _names(raw: bytes) -> int:
    """Count the names of a JSON document's objects: the colons outside of texts."""
    texts = raw.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in raw else raw
    letters = np.frombuffer(texts, np.uint8)
    inside = np.cumsum(letters == ord('"'), dtype=np.uint8) & 1  # odd behind a quote that begins a text
    return int(np.count_nonzero((letters == ord(":")) & (inside == 0)))


def twice(place: Place) -> str:
    """Return what is wrong with a name that was given more than once; the empty place is somewhere in the document."""
    if not place:
        where = f"in more than {LARGEST:,} bytes it is not said where"
        return f"expected each name once in its object, got one more than once: {where}"
    return f"expected {str(place[-1])!r:.100} once in its object, got it more than once"


def _places(value: Any, place: Place) -> Iterator[Place]:
    if isinstance(value, _Twice):
        yield from ((*place, name) for name in value.twice)
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from _places(child, (*place, name))
