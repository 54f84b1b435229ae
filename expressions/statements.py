"""Statements about pages: `share(pages, distinct(brand) >= 3) >= 0.99`, read, and judged over pages.

One statement a line; empty lines, and lines that begin with `#`, are passed over. The grammar is the filter language's
own: what is inside of `pages` is checked by `page_check`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from expressions.columns import Float64s, Frame
from expressions.errors import ExpressionError
from expressions.page_check import check_statement, is_of_pages
from expressions.pages import COMPARED, computed, number_of, truth_of
from expressions.parse import parse
from expressions.tree import Node
from expressions.types import Field, Fields

MAX_STATEMENTS: Final = 1000
_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_TOGETHER: Final[Mapping[str, Callable[[Float64s], np.float64]]] = {
    "share()": np.mean,
    "mean()": np.mean,
    "min()": np.min,
    "max()": np.max,
}


class Verdict(NamedTuple):
    """What became of a statement."""

    value: float
    """Of its left side, or of the side that is no plain number; NaN: it cannot be told, and does not hold."""
    holds: bool
    breaking: list[int]
    """Pages that stand against it, the worst first; empty where it holds, or where single pages say nothing."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that is ready to be judged."""

    text: str
    line: int
    _tree: Node

    @property
    def measures(self) -> frozenset[str]:
        """The measures that it names."""
        return frozenset(str(node.value) for node in _figures(self._tree) if node.kind == "field")

    @property
    def names(self) -> frozenset[str]:
        """The fields that it reads of pages and their items."""
        return frozenset(_fields(self._tree))

    def judge(self, pages: Sequence[Frame], measures: Mapping[str, float]) -> Verdict:
        """Return whether it holds of pages."""
        left, right = (_side(part, pages, measures) for part in self._tree.parts)
        told = not math.isnan(left) and not math.isnan(right)
        holds = told and COMPARED[self._tree.kind](left, right)
        is_plain = self._tree.parts[0].kind == "literal"
        return Verdict(right if is_plain else left, holds, [] if holds else self._breaking(pages))

    def _breaking(self, pages: Sequence[Frame]) -> list[int]:
        for part, operator in zip(self._tree.parts, (self._tree.kind, _FLIPPED[self._tree.kind]), strict=True):
            if is_of_pages(part) and operator != "!=":
                return _against(part, operator, pages)
        return []


def read_statements(text: str, fields: Fields, measures: Collection[str]) -> list[Statement]:
    """Return the statements of a file. Raises ExpressionError with the line of the file, and the column."""
    found: list[Statement] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if len(found) == MAX_STATEMENTS:
            raise ExpressionError(number, 1, f"expected at most {MAX_STATEMENTS} statements")
        try:
            tree = check_statement(parse(line), fields, measures)
        except ExpressionError as error:
            raise ExpressionError(number, error.column, error.detail) from None
        found.append(Statement(line.strip(), number, tree))
    if not found:
        raise ExpressionError(1, 1, "expected a statement, such as share(pages, distinct(brand) >= 3) >= 0.99")
    return found


def _side(node: Node, pages: Sequence[Frame], measures: Mapping[str, float]) -> float:
    """Return the value of one side of a statement."""
    if node.kind == "literal":
        return float(str(node.value))
    if node.kind == "field":
        return measures[str(node.value)]
    if is_of_pages(node):
        values = _of_each(node, pages)
        known = values[~np.isnan(values)]
        return float(_TOGETHER[node.kind](known)) if len(known) else math.nan
    sides = [_side(part, pages, measures) for part in node.parts]
    return -sides[0] if node.kind == "negative" else computed(node.kind, sides[0], sides[1])


def _of_each(node: Node, pages: Sequence[Frame]) -> Float64s:
    """Return what a function of all pages is made of: a page's number, or 1 where its condition is certainly true."""
    inner = node.parts[1]
    if node.kind == "share()":
        truth = truth_of(inner)
        return np.array([float(truth(page) is True) for page in pages])
    of_page = number_of(inner)
    return np.array([of_page(page) for page in pages])


def _against(node: Node, operator: str, pages: Sequence[Frame]) -> list[int]:
    """Return the pages that keep a function of all pages from being as wanted, the worst first."""
    values = _of_each(node, pages)
    known = np.flatnonzero(~np.isnan(values))
    if node.kind == "share()":
        wants_few = operator in ("<", "<=")
        return [at for at in known.tolist() if bool(values[at]) is wants_few]
    sign = -1.0 if operator in ("<", "<=") else 1.0
    return [int(known[at]) for at in np.argsort(sign * values[known], kind="stable")]


def _fields(node: Node) -> list[str]:
    own = [node.value.name] if isinstance(node.value, Field) else []
    return own + [name for part in node.parts for name in _fields(part)]


def _figures(node: Node) -> list[Node]:
    """Return measures and functions of all pages, which hold no further ones."""
    if node.kind == "field" or is_of_pages(node):
        return [node]
    return [found for part in node.parts for found in _figures(part)]
