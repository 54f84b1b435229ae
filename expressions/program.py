"""An expression that is ready to be evaluated, and the parts that it is a conjunction of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expressions.check import check
from expressions.columns import Frame, Mask
from expressions.errors import ExpressionError
from expressions.evaluate import mask_of
from expressions.parse import parse
from expressions.tree import Node
from expressions.types import Fields, Scope, Type
from expressions.write import text_of

MAX_CLAUSES: Final = 100
_TEXTS_COMPARED: Final = frozenset({"==", "!=", "in", "under()", "contains()", "starts_with()"})
_ORDER = (Scope.ITEM, Scope.CLOCK, Scope.REQUEST)


@dataclass(frozen=True, slots=True)
class Clause:
    """One of the conditions that a filter joins by `and`."""

    text: str
    """On one line."""
    scope: Scope
    """The widest of what it reads: a clause of items alone holds until an item changes."""
    _true: Callable[[Frame], Mask]
    names: frozenset[str] = frozenset()
    """The fields that it reads."""
    comparisons: int = 1
    """How many values it looks at for each item: what evaluating it costs."""

    def keeps(self, frame: Frame) -> Mask:
        """Return where the clause is certainly true, (n,)."""
        return _whole(self._true(frame), frame.size)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition: true where all of its clauses are."""

    text: str
    clauses: tuple[Clause, ...]

    def keeps(self, frame: Frame) -> Mask:
        """Return where the condition is certainly true, (n,)."""
        mask = self.clauses[0].keeps(frame)
        for clause in self.clauses[1:]:
            mask = mask & clause.keeps(frame)
        return mask


def condition(text: str, fields: Fields) -> Condition:
    """Compile a condition over fields. Raises ExpressionError with line and column."""
    tree = check(parse(text), fields, Type.BOOL)
    parts = _conjuncts(tree)
    if len(parts) > MAX_CLAUSES:
        raise ExpressionError(
            parts[MAX_CLAUSES].place.line,
            parts[MAX_CLAUSES].place.column,
            f"expected at most {MAX_CLAUSES} conditions joined by `and`, got {len(parts)}",
        )
    clauses = [Clause(text_of(part), scope_of(part), mask_of(part), names_of(part), fields_of(part)) for part in parts]
    return Condition(text_of(tree), tuple(clauses))


def _whole(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Return (n,) values; what counts for all is repeated."""
    return values if len(values) == size else np.broadcast_to(values, (size,))


def scope_of(node: Node) -> Scope:
    """Return the widest scope of what a checked tree reads."""
    own = node.field.scope if node.kind == "field" else Scope.ITEM
    if node.kind in ("hours_since()", "hours_until()"):
        own = Scope.CLOCK
    texts = node.kind in _TEXTS_COMPARED and node.parts[0].type is Type.TEXT
    if texts and not any(part.kind in ("literal", "list") for part in node.parts):
        own = Scope.CLOCK  # text by text, without a constant: not for every item
    return max((own, *(scope_of(part) for part in node.parts)), key=_ORDER.index)


def names_of(node: Node) -> frozenset[str]:
    """Return the fields that a checked tree reads."""
    own = {node.field.name} if node.kind == "field" else set()
    return frozenset(own.union(*(names_of(part) for part in node.parts)))


def fields_of(node: Node) -> int:
    """Return how often a checked tree reads a field."""
    return (node.kind == "field") + sum(map(fields_of, node.parts))


def _conjuncts(tree: Node) -> list[Node]:
    if tree.kind != "and":
        return [tree]
    return [part for each in tree.parts for part in _conjuncts(each)]
