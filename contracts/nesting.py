"""How deep JSON of others may be nested: looked at level by level, as recursion would end at Python's own limit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

DEEPEST: Final = 200
"""Levels that an item's fields may be nested: an answer wraps a few more around it, and JSON is written to 254."""


def deeper_than(value: object, most: int) -> bool:
    """Return whether lists and objects are nested deeper than `most`, level by level and never by recursion."""
    level = _nested((value,))
    for _ in range(most):
        level = [one for outer in level for one in _nested(outer.values() if isinstance(outer, dict) else outer)]
        if not level:
            return False
    return bool(level)


def _nested(values: Iterable[Any]) -> list[dict[str, Any] | list[Any]]:
    return [value for value in values if isinstance(value, dict | list)]
