"""Reading the catalogue: served from this process's replica, so it costs no round trip."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Self

import numpy as np
from aiohttp import web
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from contracts.ids import item_key
from contracts.items import UNLIMITED_STOCK, Item, item_document
from expressions.errors import ExpressionError
from expressions.program import Condition, condition
from gateway.cursors import decode_place, encode_place
from gateway.item_search import find_page
from gateway.items import item_id_of
from gateway.keys import CATALOGUE, CLOCK
from gateway.problems import FieldProblem, not_found, out_of_range
from gateway.wire import Whole, json_response, validated
from rerank.scenarios.fields import FIELDS_OF_ITEMS
from retrieval.catalogue import CatalogueColumns

_NOT_SHOWN = {"image_vector", "stock"}
"""Fields of the document that GET leaves out; stock is shown as it is now."""


class ItemsQuery(BaseModel):
    """Which items to show: the named ones, or those of a category and below it, or any."""

    model_config = ConfigDict(extra="forbid")

    ids: list[str] | None = Field(default=None, max_length=200, description="Item ids, separated by commas.")
    id: list[str] | None = Field(default=None, max_length=200, description="One item id, whole: may be repeated.")
    category: str | None = Field(default=None, max_length=300, description="A category path; what is below it counts.")
    filter: str | None = Field(
        default=None, min_length=1, max_length=1000, description="A condition over fields of items, `price < 50`."
    )
    cursor: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{32}$",
        description="The `cursor` of the page before, to the same `filter` and `category`.",
    )
    limit: Whole = Field(default=20, ge=1, le=200)

    @field_validator("ids", mode="before")
    @classmethod
    def _split(cls, text: object) -> object:
        return [name for name in text.split(",") if name] if isinstance(text, str) else text

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.filter is not None and (self.ids is not None or self.id is not None):
            raise ValueError("expected `filter` or items by `ids` and `id`, got both")
        if self.cursor is not None and self.filter is None:
            raise ValueError(
                "expected the `filter` that `cursor` belongs to, got none: `filter=has(item_id)` lists all"
            )
        return self


class CatalogueItem(Item):
    """An item as the catalogue has it now. No `stock` means never out of stock."""

    item_id: str


class ItemsAnswer(BaseModel):
    """Items, in the order asked for (`ids`); else spread evenly over all there are, oldest in the catalogue first.

    Under a `filter` a page of all that it keeps, in an order that stays; `cursor` asks for what follows, and is left
    out where nothing does.
    """

    items: list[CatalogueItem]
    cursor: str | None = None


async def get_items(request: web.Request) -> web.Response:
    """Show several items."""
    asked: dict[str, Any] = dict(request.query)
    if "id" in asked:
        asked["id"] = request.query.getall("id")
    query = validated(asked, ItemsQuery)
    columns = request.app[CATALOGUE]
    if query.filter is not None:
        return json_response(_page(columns, query, _condition(query.filter), float(request.app[CLOCK]())))
    if query.ids is not None or query.id is not None:
        rows = rows_named(columns, [*(query.ids or ()), *(query.id or ())])[: query.limit]
    else:
        rows = _spread(_listed(columns, query.category), query.limit)
    return json_response({"items": [document_at(columns, row) for row in rows.tolist()]})


async def get_item(request: web.Request) -> web.Response:
    """Show one item, 404 when the catalogue does not have it."""
    columns = request.app[CATALOGUE]
    item_id = item_id_of(request)
    rows = rows_named(columns, [item_id])
    if not len(rows):
        raise not_found(f"the catalogue has no item {item_id!r}")
    return json_response(document_at(columns, int(rows[0])))


@lru_cache(maxsize=64)
def _compiled(text: str) -> Condition:
    return condition(text, FIELDS_OF_ITEMS)


def _condition(text: str) -> Condition:
    try:
        return _compiled(text)
    except ExpressionError as error:
        raise out_of_range(f"/filter: {error}", [FieldProblem(pointer="/filter", detail=str(error))]) from error


def _page(columns: CatalogueColumns, query: ItemsQuery, wanted: Condition, now_ms: float) -> dict[str, Any]:
    after = None if query.cursor is None else _after(query.cursor, query)
    page = find_page(columns, wanted, _is_listed(columns, query.category), after, query.limit, now_ms)
    answer: dict[str, Any] = {"items": [document_at(columns, row) for row in page.rows.tolist()]}
    return (
        answer if page.cursor is None else answer | {"cursor": encode_place(page.cursor, query.filter, query.category)}
    )


def _after(cursor: str, query: ItemsQuery) -> int:
    try:
        return decode_place(cursor, query.filter, query.category)
    except ValueError as error:
        raise out_of_range(f"/cursor: {error}", [FieldProblem(pointer="/cursor", detail=str(error))]) from error


def rows_named(columns: CatalogueColumns, ids: list[str]) -> NDArray[np.intp]:
    """Return the rows of the ids that the catalogue has, (n,), in their order."""
    rows = columns.rows_of(np.array([item_key(name) for name in ids], np.uint64)).astype(np.intp)
    rows = rows[rows >= 0]
    return rows[columns.alive[rows]]


def _listed(columns: CatalogueColumns, category: str | None) -> NDArray[np.intp]:
    return np.flatnonzero(_is_listed(columns, category))


def _is_listed(columns: CatalogueColumns, category: str | None) -> NDArray[np.bool_]:
    wanted = columns.alive[: columns.count]
    if category:
        wanted = wanted & np.isin(columns.category[: columns.count], _codes_below(columns, category))
    return wanted


def _spread(rows: NDArray[np.intp], limit: int) -> NDArray[np.intp]:
    """Return `limit` rows at even distances, so that a short list shows the whole range."""
    return rows if len(rows) <= limit else rows[np.linspace(0, len(rows) - 1, limit).astype(np.intp)]


def _codes_below(columns: CatalogueColumns, category: str) -> list[int]:
    """Return the codes of a category and of all below it."""
    codes, rows = np.unique(columns.category[: columns.count], return_index=True)
    below = category.strip("/") + "/"
    paths = ["".join(columns.documents[row].category_path[-1:]) + "/" for row in rows.tolist()]
    return [code for code, path in zip(codes.tolist(), paths, strict=True) if path.startswith(below)]


def document_at(columns: CatalogueColumns, row: int) -> dict[str, Any]:
    """Return an item as GET shows it."""
    stock = int(columns.stock[row])
    document = item_document(columns.item_ids[row], columns.documents[row], without=_NOT_SHOWN)
    if stock != UNLIMITED_STOCK:
        document["stock"] = stock
    return document
