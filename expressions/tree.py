"""The parts of an expression, as parsed and as checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from expressions.errors import ExpressionError
from expressions.types import Field, Type

MAX_DEPTH = 60
"""How deep an expression may be nested."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part begins; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Node:
    """One part. `kind` names what it does: `literal`, `field`, `list`, an operator, or a function's name."""

    kind: str
    place: Place
    parts: tuple[Node, ...] = ()
    value: object = None
    """Of a literal: float, str or bool; of a list: a tuple of them; of a field: its path, or the Field once checked."""
    type: Type = Type.ANY
    depth: int = field(default=1)

    @property
    def field(self) -> Field:
        """The field that a checked node of kind `field` names."""
        assert isinstance(self.value, Field)
        return self.value


def node(kind: str, place: Place, parts: Sequence[Node] = (), value: object = None, type_: Type = Type.ANY) -> Node:
    """Return a part over others. Raises ExpressionError where it is nested too deep."""
    depth = 1 + max((part.depth for part in parts), default=0)
    if depth > MAX_DEPTH:
        raise ExpressionError(place.line, place.column, f"expected at most {MAX_DEPTH} parts inside each other")
    return Node(kind, place, tuple(parts), value, type_, depth)
