"""Conditions that can never be true, and the constants that a condition compares fields with: traces of typing errors
in an expression that is right by its types. Pure; looks at no item.

Two comparisons of one field with constants are held against each other, wherever both must hold. So what needs three of
them to see is not seen, and nothing is said that is not so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from expressions.check import check
from expressions.parse import parse
from expressions.tree import Node, Place
from expressions.types import Fields, Type
from expressions.write import text_of

_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_DENIED: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_IN, _NOT_IN, _UNDER, _NOT_UNDER, _LACKS = "in", "not in", "under", "not under", "lacks"


class Doubt(NamedTuple):
    """What is probably not meant, and where."""

    place: Place
    detail: str


class Mention(NamedTuple):
    """A text that a field is compared with: `is` it, or `under` it as a category."""

    place: Place
    field: str
    relation: str
    text: str


@dataclass(frozen=True, slots=True)
class _Fact:
    """What must hold of a field: an operator and its constants."""

    node: Node
    field: str
    type: Type
    operator: str
    values: tuple[object, ...] = ()

    @property
    def text(self) -> str:
        return f"{text_of(self.node)}` (line {self.node.place.line}, column {self.node.place.column})"


def typed(text: str, fields: Fields) -> Node:
    """Return the checked tree of a condition. Raises ExpressionError."""
    return check(parse(text), fields, Type.BOOL)


def doubts(tree: Node) -> list[Doubt]:
    """Return what of a checked condition can never be true, or has its arguments the wrong way round; in order."""
    found = [*_contradictions(tree, True, ()), *_swapped(tree)]
    return sorted(dict.fromkeys(found), key=lambda one: (one.place.line, one.place.column))


def mentions(tree: Node) -> Iterator[Mention]:
    """Yield the texts that fields are compared with by `==`, `!=`, `in` and `under`, in a checked condition."""
    fact = _fact(tree, True)
    if fact is not None and fact.type is Type.TEXT and fact.operator != _LACKS:
        relation = "under" if fact.operator == _UNDER else "is"
        for value in fact.values:
            yield Mention(tree.place, fact.field, relation, str(value))
    for part in tree.parts:
        yield from mentions(part)


def allowed(tree: Node, field: str) -> frozenset[str] | None:
    """Return the texts that a condition leaves a field; None where it may be any."""
    left: frozenset[str] | None = None
    for fact in (_fact(part, wanted) for part, wanted in _joined(tree, True)):
        if fact is not None and (fact.field, fact.type) == (field, Type.TEXT) and fact.operator in ("==", _IN):
            values = frozenset(map(str, fact.values))
            left = values if left is None else left & values
    return left


def _joined(node: Node, wanted: bool) -> Iterator[tuple[Node, bool]]:
    """Yield the parts that must all hold for a condition to be `wanted`, and whether each must be true or false."""
    if node.kind == "not":
        yield from _joined(node.parts[0], not wanted)
    elif node.kind == ("and" if wanted else "or"):
        for part in node.parts:
            yield from _joined(part, wanted)
    else:
        yield node, wanted


def _contradictions(node: Node, wanted: bool, before: Sequence[_Fact]) -> Iterator[Doubt]:
    parts = list(_joined(node, wanted))
    facts = [(fact, part) for part, must in parts if (fact := _fact(part, must)) is not None]
    held = list(before)
    for fact, _ in facts:
        other = next((one for one in held if _excludes(one, fact) or _excludes(fact, one)), None)
        if other is not None:
            yield Doubt(
                fact.node.place,
                f"`{text_of(fact.node)}` is never true together with `{other.text}: no item can meet both. "
                "Take one away, or join them by `or`",
            )
        held.append(fact)
    for part, must in parts:
        if part.kind in ("and", "or"):  # alternatives: each by itself, under what holds of all
            for one in part.parts:
                yield from _contradictions(one, must, held)


def _swapped(node: Node) -> Iterator[Doubt]:
    if node.kind == "under()" and node.parts[0].kind == "literal" and node.parts[1].kind != "literal":
        path, field = text_of(node.parts[0]), text_of(node.parts[1])
        yield Doubt(
            node.place,
            f"under({path}, {field}) asks whether {path} is below the {field} of an item: "
            f"expected the field first, under({field}, {path})",
        )
    for part in node.parts:
        yield from _swapped(part)


def _fact(node: Node, wanted: bool) -> _Fact | None:
    """Return what a part that must be `wanted` says of one field; None for a part of another form."""
    if node.kind == "field" and node.type is Type.BOOL:
        return _Fact(node, node.field.name, Type.BOOL, "==", (wanted,))
    if node.kind == "has()":
        return _Fact(node, node.parts[0].field.name, Type.ANY, _NOT_IN if wanted else _LACKS)
    if len(node.parts) != 2:
        return None
    left, right = node.parts
    if node.kind == "in" and left.kind == "field" and right.kind == "list":
        assert isinstance(right.value, tuple)
        return _Fact(node, left.field.name, left.type, _IN if wanted else _NOT_IN, right.value)
    if node.kind == "under()" and left.kind == "field" and right.kind == "literal":
        return _Fact(node, left.field.name, left.type, _UNDER if wanted else _NOT_UNDER, (right.value,))
    operator = node.kind
    if right.kind == "field":
        left, right, operator = right, left, _TURNED.get(operator, "")
    constant = _constant(right)
    if operator not in _TURNED or left.kind != "field" or constant is None:
        return None
    return _Fact(node, left.field.name, left.type, operator if wanted else _DENIED[operator], (constant,))


def _constant(node: Node) -> object:
    if node.kind == "negative" and isinstance(node.parts[0].value, float):
        return -node.parts[0].value
    return node.value if node.kind == "literal" else None


def _excludes(one: _Fact, other: _Fact) -> bool:
    """Say whether both together are certainly never true, looking from `one`."""
    if one.field != other.field:
        return False
    if one.operator == _LACKS:
        return other.operator != _LACKS
    if one.type is not other.type:
        return False
    if one.operator in ("==", _IN):
        return not any(_meets(value, other) for value in one.values)
    if one.operator in (">", ">="):
        return _is_above(one, other)
    if one.operator == _UNDER:
        [path] = one.values
        below = _parts(path)
        if other.operator == _UNDER:
            ours, theirs = below, _parts(other.values[0])
            shared = min(len(ours), len(theirs))
            return ours[:shared] != theirs[:shared]
        return other.operator == _NOT_UNDER and _is_under(path, other.values[0])
    return False


def _meets(value: object, fact: _Fact) -> bool:
    """Say whether a value may meet a fact."""
    operator, given = fact.operator, fact.values
    if operator in ("==", _IN):
        return value in given
    if operator in ("!=", _NOT_IN):
        return value not in given
    if operator in (_UNDER, _NOT_UNDER):
        return _is_under(value, given[0]) is (operator == _UNDER)
    if operator == _LACKS:
        return False
    low, low_held, high, high_held = _interval(fact)
    assert isinstance(value, float)
    return (low < value or (low_held and value == low)) and (value < high or (high_held and value == high))


def _is_above(one: _Fact, other: _Fact) -> bool:
    if other.operator not in ("<", "<="):
        return False
    low, low_held, *_ = _interval(one)
    *_, high, high_held = _interval(other)
    return low > high or (low == high and not (low_held and high_held))


def _interval(fact: _Fact) -> tuple[float, bool, float, bool]:
    [value] = fact.values
    assert isinstance(value, float)
    if fact.operator in ("<", "<="):
        return -math.inf, False, value, fact.operator == "<="
    return value, fact.operator == ">=", math.inf, False


def _parts(path: object) -> list[str]:
    return [part for part in str(path).split("/") if part]


def _is_under(path: object, category: object) -> bool:
    below = _parts(category)
    return _parts(path)[: len(below)] == below
