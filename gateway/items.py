"""Writing the catalogue over HTTP: put and delete one item, set stock."""

from __future__ import annotations

from aiohttp import web
from pydantic import ValidationError

from contracts.api import RejectedEvent, StockUpdate
from contracts.items import Item, ItemDelete, ItemPut, StockSet, image_problem
from eventlog.contract import Record
from gateway.changes import Taken, answer_changes, record_of, rejected
from gateway.keys import MODELS, SETTINGS
from gateway.problems import FieldProblem, malformed, out_of_range
from gateway.wire import read_json, read_object, validated


async def put_item(request: web.Request) -> web.Response:
    """Create or replace one item."""
    item_id = item_id_of(request)
    document = await read_object(request)
    _expect_of_path(document.pop("item_id", None), item_id)
    item = validated(document, Item)
    if problem := image_problem(item, request.app[MODELS]().image_length):
        raise out_of_range(f"/{problem}", [FieldProblem(pointer="/image_vector", detail=problem)])
    return await _change(request, ItemPut(item_id=item_id, item=item))


async def delete_item(request: web.Request) -> web.Response:
    """Remove one item; the answer is the same when it is not there."""
    return await _change(request, ItemDelete(item_id=item_id_of(request)))


async def post_stock(request: web.Request) -> web.Response:
    """Set the stock of several items. What is refused is named by its index."""
    documents = await read_json(request)
    if not isinstance(documents, list):
        raise malformed(f'expected an array of {{"item_id", "stock"}}, got {type(documents).__name__}')
    limit = request.app[SETTINGS].gateway.max_events
    if len(documents) > limit:
        raise out_of_range(f"expected at most {limit} stock updates in one request, got {len(documents)}")
    records: list[Record] = []
    refused: list[RejectedEvent] = []
    for index, document in enumerate(documents):
        try:
            update = StockUpdate.model_validate(document)
        except ValidationError as error:
            refused.append(rejected(index, error))
        else:
            records.append(record_of(StockSet(item_id=update.item_id, stock=update.stock)))
    taken = Taken()
    await taken.append(request, records)
    return await answer_changes(request, taken, refused)


def item_id_of(request: web.Request) -> str:
    """Return the item id of the path. Raises Refused (422) when it is too long."""
    item_id = request.match_info["item_id"]
    if len(item_id) > 256:
        raise out_of_range(f"expected an item id of at most 256 characters, got {len(item_id)}")
    return item_id


def _expect_of_path(named: object, item_id: str) -> None:
    """Refuse (422) a body that names another item than the path."""
    if named is not None and named != item_id:
        detail = f"expected the item of the path, {item_id!r}, or no item_id, got {named!r:.60}"
        raise out_of_range(f"/item_id: {detail}", [FieldProblem(pointer="/item_id", detail=detail)])


async def _change(request: web.Request, change: ItemPut | ItemDelete) -> web.Response:
    taken = Taken()
    await taken.append(request, [record_of(change)])
    return await answer_changes(request, taken, [])
