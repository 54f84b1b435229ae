"""Records of the items log (puts, deletes, stock, items first seen): what is taken becomes rows that all take."""

from __future__ import annotations

import orjson

from contracts.codec import decode_row, encode_row
from contracts.events import Rejection
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item, ItemDelete, ItemPut, ItemSeen, StockSet, decode_change, encode_change
from flows.item_steps import _encoded, change_rows
from flows.read_record import read_record
from tests.fuzz.target import Target

A = CatalogueRow("a", Item(title="A"), 5, 7, 0, b"")
VALID = {
    "put": encode_change(ItemPut(item_id="a", item=Item.model_validate({"title": "A", "stock": 3, "own": [1]}))),
    "delete": encode_change(ItemDelete(item_id="a")),
    "stock": encode_change(StockSet(item_id="a", stock=0)),
    "seen": encode_change(ItemSeen(item_id="b", ts=1_700_000_000_000)),
}


def check(raw: bytes) -> None:
    change = read_record(decode_change, raw)
    if isinstance(change, Rejection):
        str(change).encode()
        return
    for key, row in change_rows([(3, change)], {item_key("a"): A}, now_ms=9).rows.items():
        if row is not None:
            stored = _encoded(key, row)
            again = decode_row(stored)
            assert decode_row(encode_row(again)) == again


TARGET = Target(
    check,
    VALID,
    code=("contracts.items", "contracts.codec", "contracts.plausible", "flows.item_steps"),
    refusals=(ValueError, orjson.JSONEncodeError),  # flows.apply_once leaves such a record out, as bad_record
    words=(b'"op":', b'"put"', b'"seen"', b'"stock"', b'"item":', b'"item_id":', b'"ts":', b'"title":'),
)
