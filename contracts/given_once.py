"""Names that a JSON document gives twice: decoders keep the last value without a word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

LARGEST: Final = 250_000
"""Bytes of a document that is looked through: 1 ms for each 12 KB of small objects. No person writes larger ones."""

Place = tuple[str | int, ...]


class _Twice(dict[str, Any]):
    """A JSON object in which some names were given more than once."""

    twice: tuple[str, ...] = ()


def given_twice(raw: bytes) -> list[Place]:
    """Return the place of each name that an object of a JSON document gives more than once, in order.

    `raw` was decoded before: what is no JSON, or is nested deeper than Python goes, has no such names here. 20 us for a
    scenario of 1 KB. Documents above LARGEST are not looked through.
    """
    if len(raw) > LARGEST:
        return []
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


def twice(place: Place) -> str:
    """Return what is wrong with a name that was given more than once."""
    return f"expected {str(place[-1])!r:.100} once in its object, got it more than once"


def _places(value: Any, place: Place) -> Iterator[Place]:
    if isinstance(value, _Twice):
        yield from ((*place, name) for name in value.twice)
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from _places(child, (*place, name))
