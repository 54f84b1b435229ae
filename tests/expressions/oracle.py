"""The filter language one row at a time, in plain Python: what the arrays are held to. None is unknown."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from expressions.check import milliseconds
from expressions.tree import Node
from expressions.types import Type

HOUR_MS = 3_600_000.0
ORDERED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def value_of(node: Node, row: Mapping[str, Any], now_ms: float) -> Any:
    """Return what a checked tree says of a row: fields by name, tuples for lists, and absent ones left out."""
    kind = node.kind
    if kind in ("literal", "list"):
        return node.value
    if kind == "field":
        return taken_as(node.type, row.get(node.field.name))
    if kind == "has()":
        return node.parts[0].field.name in row
    if kind in ("and", "or"):
        return joined(kind, [value_of(part, row, now_ms) for part in node.parts])
    values = [value_of(part, row, now_ms) for part in node.parts]
    if any(value is None for value in values):
        return None
    if node.parts[0].type is Type.ANY and (kind in ORDERED or kind in ("==", "!=")):
        return of_open_fields(kind, *values)
    return computed(kind, values, now_ms)


def of_open_fields(kind: str, one: Any, other: Any) -> Any:
    if type(one) is not type(other):
        return None
    if kind not in ORDERED:
        return (one == other) is (kind == "==")
    if isinstance(one, float):
        return ORDERED[kind](one, other)
    one, other = taken_as(Type.TIME, one), taken_as(Type.TIME, other)
    return None if one is None or other is None else ORDERED[kind](one, other)


def joined(kind: str, values: list[Any]) -> Any:
    decides = kind == "or"
    if decides in values:
        return decides
    return None if None in values else not decides


def taken_as(wanted: Type, value: Any) -> Any:
    if isinstance(value, bool):
        return value if wanted in (Type.BOOL, Type.ANY) else None
    if wanted is Type.TIME and isinstance(value, str):
        try:
            return milliseconds(value)
        except (ValueError, OverflowError):
            return None
    if wanted is Type.ANY:
        return None if isinstance(value, tuple) else value
    kinds: dict[Type, Any] = {Type.NUMBER: float, Type.TIME: float, Type.TEXT: str, Type.LIST: tuple}
    return value if wanted in kinds and isinstance(value, kinds[wanted]) else None


def computed(kind: str, values: list[Any], now_ms: float) -> Any:
    one, other = values[0], values[-1]
    if kind in ORDERED:
        return ORDERED[kind](one, other)
    if kind == "/":
        return None if other == 0 else one / other
    if kind == "starts_with()":
        return one.startswith(other)
    if kind == "under()":
        path, category = ([part for part in text.split("/") if part] for text in (one, other))
        return path[: len(category)] == category
    said: dict[str, Any] = {
        "not": lambda: not one,
        "==": lambda: one == other,
        "!=": lambda: one != other,
        "in": lambda: one in other,
        "+": lambda: one + other,
        "-": lambda: one - other,
        "*": lambda: one * other,
        "negative": lambda: -one,
        "abs()": lambda: abs(one),
        "min()": lambda: min(one, other),
        "max()": lambda: max(one, other),
        "count()": lambda: float(len(one)),
        "lower()": lambda: str.lower(one),
        "contains()": lambda: other in one,
        "hours_since()": lambda: (now_ms - one) / HOUR_MS,
        "hours_until()": lambda: (one - now_ms) / HOUR_MS,
    }
    return said[kind]()
