"""Writing the catalogue over HTTP: put and delete one item, set stock."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import numpy as np
from aiohttp import web
from pydantic import ValidationError

from contracts.api import RejectedEvent, StockUpdate
from contracts.ids import item_key
from contracts.items import Item, ItemDelete, ItemPatch, ItemPut, StockSet, patched
from eventlog.contract import Topic, expect_fits
from gateway.changes import Taken, answer_changes, expect_item, is_visible, record_of, rejected
from gateway.keys import CATALOGUE, MODELS, SETTINGS
from gateway.problems import FieldProblem, field_problems, malformed, not_found, out_of_range
from gateway.room import expect_room
from gateway.wire import JSON_TYPES, expect_object, read_json, read_object, too_many_fields, validated
from retrieval.catalogue import CatalogueColumns

PATCH_TYPES = JSON_TYPES | {"application/merge-patch+json"}


async def put_item(request: web.Request) -> web.Response:
    """Create or replace one item."""
    item_id = item_id_of(request)
    document = await read_object(request, named=True, written=True)
    _expect_of_path(document.pop("item_id", None), item_id)
    item = validated(document, Item)
    expect_item(item, request.app[MODELS]().image_length)
    await expect_room(request, [item_id])
    return await _change(request, ItemPut(item_id=item_id, item=item))


async def patch_item(request: web.Request) -> web.Response:
    """Change the named fields of an item, and leave all others (JSON merge patch)."""
    item_id = item_id_of(request)
    patch = expect_object(await read_json(request, PATCH_TYPES, named=True, written=True))
    _expect_of_path(patch.get("item_id"), item_id)
    patch.pop("item_id", None)
    columns = request.app[CATALOGUE]
    row = int(columns.rows_of(np.array([item_key(item_id)], np.uint64))[0])
    if row < 0 or not columns.alive[row] or columns.item_ids[row] != item_id:
        raise not_found(f"the catalogue has no item {item_id!r}: put it first")
    try:
        item = patched(columns.documents[row], patch)
    except ValidationError as error:
        problems = field_problems(error)
        raise out_of_range(f"{problems[0].pointer or 'body'}: {problems[0].detail}", problems) from error
    except ValueError as error:
        raise out_of_range(str(error)) from error
    expect_item(item, request.app[MODELS]().image_length)
    whole = record_of(ItemPut(item_id=item_id, item=item))  # each patch is small, what they add up to need not be
    expect_fits(Topic.ITEMS, [whole], request.app[SETTINGS].log.max_record_bytes)
    return await _change(request, ItemPatch(item_id=item_id, patch=patch))


async def delete_item(request: web.Request) -> web.Response:
    """Remove one item; the answer is the same when it is not there."""
    return await _change(request, ItemDelete(item_id=item_id_of(request)))


async def post_stock(request: web.Request) -> web.Response:
    """Set the stock of several items. What is refused is named by its index, an item that is not there by its id too.

    Which items are there the log decides: an update is appended, and looked after once it is applied. One of an item
    that is not there is a dead letter then (`unknown_item`).
    """
    documents = await read_json(request, named=True, written=True)
    if not isinstance(documents, list):
        raise malformed(f'expected an array of {{"item_id", "stock"}}, got {type(documents).__name__}')
    limit = request.app[SETTINGS].gateway.max_events
    if len(documents) > limit:
        raise out_of_range(f"expected at most {limit} stock updates in one request, got {len(documents)}")
    updates: list[tuple[int, StockUpdate]] = []
    refused: list[RejectedEvent] = []
    for index, document in enumerate(documents):
        if problem := too_many_fields(document):
            refused.append(RejectedEvent(index=index, reason=f"invalid: body: {problem}"))
            continue
        try:
            updates.append((index, StockUpdate.model_validate(document)))
        except ValidationError as error:
            refused.append(rejected(index, error))
    taken = Taken()
    await taken.append(request, [record_of(StockSet(item_id=one.item_id, stock=one.stock)) for _, one in updates])
    visible = await is_visible(request, taken)
    unknown = _unknown(request.app[CATALOGUE], updates) if visible else []
    refused = sorted([*refused, *unknown], key=lambda one: one.index)
    return answer_changes(request, taken.accepted - len(unknown), refused, visible=visible)


def item_id_of(request: web.Request) -> str:
    """Return the item id of the path. Raises Refused (422) when it is too long, or no text in UTF-8."""
    try:
        raw = request.rel_url.raw_path.removeprefix("/api/items/").partition("/")[0]
        item_id = unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise out_of_range(f"expected an item id in UTF-8, percent-encoded: {error}") from error
    if len(item_id) > 256:
        raise out_of_range(f"expected an item id of at most 256 characters, got {len(item_id)}")
    return item_id


def _expect_of_path(named: object, item_id: str) -> None:
    """Refuse (422) a body that names another item than the path."""
    if named is not None and named != item_id:
        detail = f"expected the item of the path, {item_id!r}, or no item_id, got {named!r:.60}"
        raise out_of_range(f"/item_id: {detail}", [FieldProblem(pointer="/item_id", detail=detail)])


async def _change(request: web.Request, change: ItemPut | ItemPatch | ItemDelete) -> web.Response:
    taken = Taken()
    await taken.append(request, [record_of(change)])
    return answer_changes(request, taken.accepted, [], visible=await is_visible(request, taken))


def _unknown(columns: CatalogueColumns, updates: Sequence[tuple[int, StockUpdate]]) -> list[RejectedEvent]:
    """Name the updates of items that the catalogue does not have."""
    rows = columns.rows_of(np.array([item_key(one.item_id) for _, one in updates], np.uint64)).tolist()
    return [
        RejectedEvent(index=index, reason=f"unknown_item: {one.item_id!r} is not in the catalogue: put the item first")
        for (index, one), row in zip(updates, rows, strict=True)
        if row < 0 or not columns.alive[row] or columns.item_ids[row] != one.item_id
    ]
