"""A line of a bulk load, all the way: door, log, items flow, table, columns, and shown again as it was."""

from __future__ import annotations

from typing import Any

from contracts.codec import decode_row, encode_row
from contracts.ids import item_key
from contracts.items import Item, ItemPut, decode_change
from contracts.plausible import expect_row
from eventlog.contract import Record
from flows.item_steps import change_rows
from gateway.browse import document_at
from gateway.bulk import _parse
from gateway.wire import encoded
from retrieval.catalogue import CatalogueColumns
from retrieval.intake import Intake
from tests.fuzz.target import Target, dumped

PLAIN: dict[str, Any] = {"item_id": "a", "title": "Trail shoe"}
FULL: dict[str, Any] = {
    **PLAIN,
    **{"description": "d", "category": "shoes//trail", "brand": "Fell", "supplier": "S", "price": 129, "margin": 0.35},
    **{"stock": 12, "regions": ["eu"], "min_age": 18, "image_url": "https://x/y.png", "image_vector": [0.5, -1]},
    **{"attributes": {"colour": "moss", "deep": [[{}]]}, "cls": "A", "model_fields": 5},
}


def check(raw: bytes) -> None:
    found = _parse(0, raw, 0)
    if not isinstance(found, Record):
        found.model_dump_json()
        return
    change = decode_change(found.value)
    assert isinstance(change, ItemPut)
    key = item_key(change.item_id)
    row = change_rows([(0, change)], {}, now_ms=7).rows[key]
    assert row is not None
    expect_row(key, row)
    stored = encode_row(row)
    again = decode_row(stored)
    assert decode_row(encode_row(again)) == again
    columns = CatalogueColumns()
    Intake(columns).take([(key, stored)])
    shown = document_at(columns, 0)
    encoded(shown)
    assert (shown["item_id"], shown["title"]) == (change.item_id, change.item.title)


TARGET = Target(
    check,
    {"plain": dumped(PLAIN), "full": dumped(FULL)},
    code=(
        "contracts.items",
        "contracts.codec",
        "contracts.plausible",
        "gateway.bulk",
        "gateway.changes",
        "flows.item_steps",
    ),
    words=tuple(b'"%s":' % name.encode() for name in (*Item.model_fields, "item_id")),
)
