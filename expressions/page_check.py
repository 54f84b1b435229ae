"""What a statement about pages may say: each part gets its type, and is of an item, of a page, or of all pages.

A statement compares figures of all pages: `share(pages, CONDITION)` and `mean(pages, NUMBER)`, beside measures by
name. Inside, conditions and numbers are of one page: what its items have together (`distinct(brand)`,
`count(price < 20)`, `mean(price)`), and what its request says. Inside those, the filter language is of one item.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from expressions.check import ARITHMETIC, EQUALITY, ORDER, check
from expressions.errors import ExpressionError
from expressions.program import scope_of
from expressions.tree import Node
from expressions.types import Fields, Scope, Type

OF_NUMBERS: Final = frozenset({"mean()", "sum()", "min()", "max()"})
OF_CONDITIONS: Final = frozenset({"any()", "all()"})
OF_ITEMS: Final = frozenset({*OF_NUMBERS, *OF_CONDITIONS, "count()", "distinct()"})
"""Functions of a page: what its items have together. `min` and `max` of two numbers are of the page too."""
OF_PAGES: Final = frozenset({"share()", "mean()", "min()", "max()"})
"""Functions of all pages: their first argument is `pages`."""
PAGES: Final = "pages"


def check_statement(tree: Node, fields: Fields, measures: Collection[str]) -> Node:
    """Return a statement's tree with what is inside of pages checked. Raises ExpressionError."""
    if tree.kind not in ORDER and tree.kind not in EQUALITY:
        raise _wrong(tree, "expected a comparison, such as share(pages, distinct(brand) >= 3) >= 0.99")
    checker = _PagesCheck(fields, measures)
    return replace(tree, parts=tuple(checker.figure(part) for part in tree.parts), type=Type.BOOL)


def is_of_pages(node: Node) -> bool:
    """Say whether a part is a function of all pages."""
    return node.kind in OF_PAGES and bool(node.parts) and node.parts[0].value == (PAGES,)


class _PagesCheck:
    """Checks what is of all pages."""

    def __init__(self, fields: Fields, measures: Collection[str]) -> None:
        self._measures = measures
        self._page = _PageCheck(fields)

    def figure(self, node: Node) -> Node:
        if node.kind == "literal":
            return _number(node)
        if node.kind in ARITHMETIC or node.kind == "negative":
            return replace(node, parts=tuple(self.figure(part) for part in node.parts), type=Type.NUMBER)
        if node.kind == "field":
            return self._measure(node)
        if not is_of_pages(node):
            listed = ", ".join(f"{one.removesuffix('()')}(pages, …)" for one in sorted(OF_PAGES))
            raise _wrong(node, f"expected a figure of all pages ({listed}) or a measure by its name")
        if len(node.parts) != 2:
            raise _wrong(node, f"expected `pages` and what is counted of each, got {len(node.parts)} arguments")
        inner = self._page.truth(node.parts[1]) if node.kind == "share()" else self._page.number(node.parts[1])
        return replace(node, parts=(node.parts[0], inner), type=Type.NUMBER)

    def _measure(self, node: Node) -> Node:
        assert isinstance(node.value, tuple)
        name = ".".join(node.value)
        if name in self._measures:
            return replace(node, value=name, type=Type.NUMBER)
        near = get_close_matches(name, self._measures, 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(self._measures))}"
        raise _wrong(node, f"no measure is called {name}: {hint}")


class _PageCheck:
    """Checks what is of one page."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def truth(self, node: Node) -> Node:
        if node.kind in ("and", "or", "not"):
            return replace(node, parts=tuple(self.truth(part) for part in node.parts), type=Type.BOOL)
        if not _has_items(node):
            return self._of_request(node, Type.BOOL)
        if node.kind in OF_CONDITIONS:
            return self._of_items(node, Type.BOOL)
        if node.kind in ORDER or node.kind in EQUALITY:
            return replace(node, parts=tuple(self.number(part) for part in node.parts), type=Type.BOOL)
        raise _wrong(node, "expected a condition of a page, such as distinct(brand) >= 3")

    def number(self, node: Node) -> Node:
        if node.kind == "literal":
            return _number(node)
        if not _has_items(node):
            return self._of_request(node, Type.NUMBER)
        pair = node.kind in ("min()", "max()") and len(node.parts) == 2
        if pair or node.kind in ARITHMETIC or node.kind in ("negative", "abs()"):
            return replace(node, parts=tuple(self.number(part) for part in node.parts), type=Type.NUMBER)
        if node.kind in OF_ITEMS - OF_CONDITIONS:
            return self._of_items(node, Type.NUMBER)
        raise _wrong(node, "expected a number of a page, such as count(price < 20)")

    def _of_items(self, node: Node, type_: Type) -> Node:
        if node.kind == "count()" and not node.parts:
            return replace(node, type=type_)
        if len(node.parts) != 1:
            raise _wrong(node, f"expected 1 argument, got {len(node.parts)}")
        inner = node.parts[0]
        if node.kind == "distinct()":
            if inner.kind != "field":
                raise _wrong(inner, "expected a field, such as brand")
            checked = self._field(inner)
            if checked.field.scope is Scope.REQUEST:
                raise _wrong(inner, f"expected a field of items, got {checked.field.name}, which a page has once")
        else:
            wanted = Type.NUMBER if node.kind in OF_NUMBERS else Type.BOOL
            checked = check(inner, self._fields, wanted)
        return replace(node, parts=(checked,), type=type_)

    def _field(self, node: Node) -> Node:
        known = check(replace(node, kind="has()", parts=(node,), value=None), self._fields, Type.BOOL)
        return known.parts[0]

    def _of_request(self, node: Node, type_: Type) -> Node:
        """Check a part that looks at no item: it may read what the request says, and nothing of items."""
        checked = check(node, self._fields, type_)
        if scope_of(checked) is not Scope.REQUEST and (of_item := _item_field(checked)) is not None:
            raise _wrong(
                of_item,
                f"{of_item.field.name} is of one item: expected it inside "
                f"{', '.join(one.removesuffix('()') for one in sorted(OF_ITEMS))}",
            )
        return checked


def _has_items(node: Node) -> bool:
    """Say whether a part looks at the items of a page. `count(LIST)` of a request's list does not."""
    if node.kind == "count()" and len(node.parts) == 1 and node.parts[0].kind == "field":
        return False
    pair = node.kind in ("min()", "max()") and len(node.parts) == 2
    return (node.kind in OF_ITEMS and not pair) or any(_has_items(part) for part in node.parts)


def _item_field(node: Node) -> Node | None:
    if node.kind == "field":
        return None if node.field.scope is Scope.REQUEST else node
    return next((found for part in node.parts if (found := _item_field(part)) is not None), None)


def _number(node: Node) -> Node:
    if isinstance(node.value, bool) or not isinstance(node.value, float):
        raise _wrong(node, f"expected a number, got {Type.BOOL if isinstance(node.value, bool) else Type.TEXT}")
    return replace(node, type=Type.NUMBER)


def _wrong(node: Node, detail: str) -> ExpressionError:
    return ExpressionError(node.place.line, node.place.column, detail)
