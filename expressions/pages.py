"""A checked part of a statement to a function of one page: its items are the frame's rows.

Logic is Kleene's here too: a truth is True, False, or None for unknown; an unknown number is NaN.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expressions.columns import Float64s, Frame, Numbers
from expressions.evaluate import mask_of, numbers_of
from expressions.page_check import OF_CONDITIONS, OF_ITEMS
from expressions.tree import Node
from expressions.types import Type

NumberOf = Callable[[Frame], float]
TruthOf = Callable[[Frame], bool | None]


def alike(a: float, b: float) -> bool:
    """Say whether two figures are the same but for what arithmetic loses."""
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


COMPARED: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": lambda a, b: a <= b or alike(a, b),
    ">": operator.gt,
    ">=": lambda a, b: a >= b or alike(a, b),
    "==": alike,
    "!=": lambda a, b: not alike(a, b),
}
_COMPUTED: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else math.nan,
    "min()": lambda a, b: math.nan if math.isnan(a + b) else min(a, b),
    "max()": lambda a, b: math.nan if math.isnan(a + b) else max(a, b),
}
_TOGETHER: Final[dict[str, Callable[[Float64s], Any]]] = {
    "mean()": np.mean,
    "sum()": np.sum,
    "min()": np.min,
    "max()": np.max,
}


def computed(kind: str, a: float, b: float) -> float:
    """Return what an operator or `min`, `max` of two numbers makes."""
    return _COMPUTED[kind](a, b)


def truth_of(node: Node) -> TruthOf:
    """Return a checked condition of a page."""
    if node.kind == "not":
        inner = truth_of(node.parts[0])
        return lambda frame: None if (found := inner(frame)) is None else not found
    if node.kind in ("and", "or"):
        return _joined([truth_of(part) for part in node.parts], node.kind == "or")
    if node.kind in OF_CONDITIONS:
        return _of_all(node.parts[0], node.kind == "any()")
    if node.kind in COMPARED and any(_of_page(part) for part in node.parts):
        left, right = (number_of(part) for part in node.parts)
        compare = COMPARED[node.kind]

        def compared(frame: Frame) -> bool | None:
            one, other = left(frame), right(frame)
            return None if math.isnan(one) or math.isnan(other) else compare(one, other)

        return compared
    true, false = mask_of(node), mask_of(Node("not", node.place, (node,), type=Type.BOOL))
    return lambda frame: True if true(frame)[0] else False if false(frame)[0] else None


def number_of(node: Node) -> NumberOf:
    """Return a checked number of a page."""
    if node.kind == "literal":
        constant = float(str(node.value))
        return lambda frame: constant
    if not _of_page(node):
        of_request = numbers_of(node)
        return lambda frame: float(of_request(frame)[0])
    if node.kind in _COMPUTED and len(node.parts) == 2:
        left, right, kind = number_of(node.parts[0]), number_of(node.parts[1]), node.kind
        return lambda frame: computed(kind, left(frame), right(frame))
    if node.kind in ("negative", "abs()"):
        inner = number_of(node.parts[0])
        return (lambda frame: -inner(frame)) if node.kind == "negative" else (lambda frame: abs(inner(frame)))
    if node.kind == "count()":
        return _counted(node)
    if node.kind == "distinct()":
        return _distinct(node.parts[0])
    values, together = numbers_of(node.parts[0]), _TOGETHER[node.kind]

    def of_items(frame: Frame) -> float:
        found = _whole(values(frame), frame.size)
        known = found[~np.isnan(found)]
        return float(together(known)) if len(known) else math.nan

    return of_items


def _of_page(node: Node) -> bool:
    """Say whether a checked part looks at the items of a page, not at the request alone."""
    if node.kind == "count()" and len(node.parts) == 1 and node.parts[0].type is Type.LIST:
        return False
    pair = node.kind in ("min()", "max()") and len(node.parts) == 2
    return (node.kind in OF_ITEMS and not pair) or any(_of_page(part) for part in node.parts)


def _joined(parts: Sequence[TruthOf], wins: bool) -> TruthOf:
    """Join by `or`, where True decides, or by `and`, where False does."""

    def read(frame: Frame) -> bool | None:
        found = [part(frame) for part in parts]
        return wins if wins in found else None if None in found else not wins

    return read


def _of_all(condition: Node, wins: bool) -> TruthOf:
    """`any`, which one item of which it is true decides, or `all`, which one decides of which it is false."""
    true, false = mask_of(condition), mask_of(Node("not", condition.place, (condition,), type=Type.BOOL))
    decides, leaves = (true, false) if wins else (false, true)

    def read(frame: Frame) -> bool | None:
        if _whole(decides(frame), frame.size).any():
            return wins
        return not wins if _whole(leaves(frame), frame.size).all() else None

    return read


def _counted(node: Node) -> NumberOf:
    if not node.parts:
        return lambda frame: float(frame.size)
    keeps = mask_of(node.parts[0])
    return lambda frame: float(np.count_nonzero(_whole(keeps(frame), frame.size)))


def _distinct(node: Node) -> NumberOf:
    field = node.field

    def read(frame: Frame) -> float:
        column = frame.column(field)
        if isinstance(column, Numbers):
            return float(len(np.unique(column.values[~np.isnan(column.values)])))
        return float(len(np.unique(column.codes[column.codes >= 0])))

    return read


def _whole(values: NDArray[Any], size: int) -> NDArray[Any]:
    return values if len(values) == size else np.broadcast_to(values, (size,))
