"""A tree as text again: how a clause is named where it is counted."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Final

from expressions.tree import Node
from expressions.types import Field, Type

_TIGHTNESS: Final = {"or": 1, "and": 2, "not": 3, "in": 4, "+": 5, "-": 5, "*": 6, "/": 6, "negative": 7}
_COMPARISON: Final = 4
_ATOM: Final = 9
_PLAIN = re.compile(r"[A-Za-z_][\w-]*")


def text_of(node: Node) -> str:
    """Return an expression that means what the tree does, on one line."""
    if node.kind == "literal":
        return _constant(node.value, node.type)
    if node.kind == "list":
        assert isinstance(node.value, tuple)
        return f"[{', '.join(_constant(one, Type.ANY) for one in node.value)}]"
    if node.kind == "field":
        return _path(node.value)
    if node.kind.endswith("()"):
        return f"{node.kind[:-2]}({', '.join(text_of(part) for part in node.parts)})"
    own = _tightness(node)
    if node.kind in ("not", "negative"):
        sign = "not " if node.kind == "not" else "-"
        return sign + _inside(node.parts[0], own + (node.kind == "negative"))
    if node.kind in ("and", "or"):
        return f" {node.kind} ".join(_inside(part, own + 1) for part in node.parts)
    left, right = node.parts
    compared = own == _COMPARISON
    return f"{_inside(left, own + compared)} {node.kind} {_inside(right, own + 1)}"


def _tightness(node: Node) -> int:
    if node.kind in ("literal", "list", "field") or node.kind.endswith("()"):
        return _ATOM
    return _TIGHTNESS.get(node.kind, _COMPARISON)


def _inside(node: Node, needed: int) -> str:
    text = text_of(node)
    return text if _tightness(node) >= needed else f"({text})"


def _path(value: object) -> str:
    if isinstance(value, Field):
        if not value.path:
            return value.name
        value = value.path
    assert isinstance(value, tuple)
    *first, last = value
    if all(_PLAIN.fullmatch(part) for part in value):
        return ".".join(value)
    return f"{'.'.join(first)}[{_quoted(last)}]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _constant(value: object, type_: Type) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return json.dumps(value)
    assert isinstance(value, float)
    if type_ is Type.TIME:
        return _quoted(datetime.fromtimestamp(value / 1000, UTC).isoformat().replace("+00:00", "Z"))
    return f"{value:.15g}"
