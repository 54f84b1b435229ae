"""What an expression may say: every part gets its type, and every field is one that there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

from expressions.errors import ExpressionError
from expressions.tree import Node
from expressions.types import Fields, Type

EQUALITY: Final = frozenset({"==", "!="})
ORDER: Final = frozenset({"<", "<=", ">", ">="})
ARITHMETIC: Final = frozenset({"+", "-", "*", "/"})
_OF_LITERALS: Final = {bool: Type.BOOL, float: Type.NUMBER, str: Type.TEXT}

FUNCTIONS: Final[Mapping[str, tuple[tuple[Type, ...], Type]]] = {
    "abs()": ((Type.NUMBER,), Type.NUMBER),
    "contains()": ((Type.TEXT, Type.TEXT), Type.BOOL),
    "count()": ((Type.LIST,), Type.NUMBER),
    "date()": ((Type.TEXT,), Type.TIME),
    "has()": ((Type.ANY,), Type.BOOL),
    "hours_since()": ((Type.TIME,), Type.NUMBER),
    "hours_until()": ((Type.TIME,), Type.NUMBER),
    "lower()": ((Type.TEXT,), Type.TEXT),
    "max()": ((Type.NUMBER, Type.NUMBER), Type.NUMBER),
    "min()": ((Type.NUMBER, Type.NUMBER), Type.NUMBER),
    "starts_with()": ((Type.TEXT, Type.TEXT), Type.BOOL),
    "under()": ((Type.TEXT, Type.TEXT), Type.BOOL),
}
"""Argument types and result of every function. `has` takes a field of any type."""


def check(tree: Node, fields: Fields, wanted: Type) -> Node:
    """Return the tree with types, fields found and dates read. Raises ExpressionError."""
    return _Check(fields).as_type(tree, wanted)


def milliseconds(text: str) -> float:
    """Return an ISO 8601 date or time in epoch milliseconds; without a zone it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000


class _Check:
    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def as_type(self, node: Node, wanted: Type) -> Node:
        """Check a part that must be of a type; what an open document holds is taken for it."""
        found = self._typed(node)
        if found.type is wanted:
            return found
        if found.type is Type.ANY:
            return replace(found, type=wanted)
        if wanted is Type.TIME and found.kind == "literal" and found.type is Type.TEXT:
            return self._time(found)
        raise _wrong(node, f"expected {wanted}, got {found.type}")

    def _typed(self, node: Node) -> Node:
        if node.kind == "literal":
            return replace(node, type=_OF_LITERALS[type(node.value)])
        if node.kind == "field":
            return self._field(node)
        if node.kind in ("and", "or", "not"):
            return self._of(node, [self.as_type(part, Type.BOOL) for part in node.parts], Type.BOOL)
        if node.kind in EQUALITY or node.kind in ORDER:
            return self._of(node, self._alike(node), Type.BOOL)
        if node.kind in ARITHMETIC or node.kind == "negative":
            return self._of(node, [self.as_type(part, Type.NUMBER) for part in node.parts], Type.NUMBER)
        if node.kind == "in":
            return self._of(node, self._within(*node.parts), Type.BOOL)
        if node.kind == "list":
            raise _wrong(node, "expected a list only after `in`")
        return self._call(node)

    def _of(self, node: Node, parts: Sequence[Node], type_: Type) -> Node:
        return replace(node, parts=tuple(parts), type=type_)

    def _field(self, node: Node) -> Node:
        assert isinstance(node.value, tuple)
        found = self._fields.find(node.value)
        if found is not None:
            return replace(node, value=found, type=found.type)
        name = ".".join(node.value)
        near = self._near(node.value)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(self._beside(node.value))}"
        raise _wrong(node, f"no field is called {name}: {hint}")

    def _near(self, path: tuple[str, ...]) -> str | None:
        """Return the name that was meant: of what stands under the same word, by the rest alone."""
        subject = f"{path[0]}."
        rests = [name.removeprefix(subject) for name in self._fields.named if name.startswith(subject)]
        if len(path) > 1 and rests:
            near = get_close_matches(".".join(path[1:]), rests, 1, 0.6)
            return subject + near[0] if near else None
        return next(iter(get_close_matches(".".join(path), self._fields.named, 1, 0.7)), None)

    def _beside(self, path: tuple[str, ...]) -> list[str]:
        """Return what there is: under the same word, else everything."""
        listed = [*sorted(self._fields.named), *(f"{name}.NAME" for name in sorted(self._fields.open))]
        same = [name for name in listed if len(path) > 1 and name.startswith(f"{path[0]}.")]
        return same or listed

    def _alike(self, node: Node) -> list[Node]:
        """Check both sides of a comparison: they must be of one type."""
        left, right = self._typed(node.parts[0]), self._typed(node.parts[1])
        known = [side.type for side in (left, right) if side.type is not Type.ANY]
        if not known:
            return [left, right]  # each value says of what type it is
        wanted = Type.TIME if Type.TIME in known else known[0]
        if node.kind in ORDER and wanted is Type.TEXT and "literal" in (left.kind, right.kind):
            wanted = Type.TIME
        if wanted is Type.LIST or (node.kind in ORDER and wanted not in (Type.NUMBER, Type.TIME)):
            raise _wrong(node, f"{wanted} cannot be compared by {node.kind}: expected numbers or times")
        return [self.as_type(part, wanted) for part in node.parts]

    def _within(self, left: Node, right: Node) -> list[Node]:
        if right.kind != "list":
            return [self.as_type(left, Type.TEXT), self.as_type(right, Type.LIST)]
        assert isinstance(right.value, tuple)
        types = {_OF_LITERALS[type(one)] for one in right.value}
        if len(types) > 1 or Type.BOOL in types:
            raise _wrong(right, "expected a list of texts, or one of numbers")
        wanted = types.pop() if types else Type.TEXT
        return [self.as_type(left, wanted), replace(right, type=wanted)]

    def _call(self, node: Node) -> Node:
        if node.kind not in FUNCTIONS:
            names = ", ".join(name.removesuffix("()") for name in sorted(FUNCTIONS))
            raise _wrong(node, f"no function is called {node.kind.removesuffix('()')}: there are {names}")
        wanted, result = FUNCTIONS[node.kind]
        if len(node.parts) != len(wanted):
            raise _wrong(node, f"expected {len(wanted)} arguments, got {len(node.parts)}")
        if node.kind == "has()":
            if node.parts[0].kind != "field":
                raise _wrong(node.parts[0], "expected a field")
            return self._of(node, [self._field(node.parts[0])], result)
        if node.kind == "date()":
            if node.parts[0].kind != "literal" or not isinstance(node.parts[0].value, str):
                raise _wrong(node.parts[0], 'expected a date in quotes, such as "2026-11-27"')
            return self._time(node.parts[0])
        return self._of(
            node, [self.as_type(part, type_) for part, type_ in zip(node.parts, wanted, strict=True)], result
        )

    def _time(self, node: Node) -> Node:
        try:
            return replace(node, value=milliseconds(str(node.value)), type=Type.TIME)
        except (ValueError, OverflowError):
            raise _wrong(
                node, f'expected a date or a time such as "2026-11-27T08:00:00Z", got "{node.value!s:.40}"'
            ) from None


def _wrong(node: Node, detail: str) -> ExpressionError:
    return ExpressionError(node.place.line, node.place.column, detail)
