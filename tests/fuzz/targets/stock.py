"""Bodies of POST /api/stock."""

from __future__ import annotations

import orjson
from pydantic import ValidationError

from contracts.api import StockUpdate
from contracts.items import StockSet, decode_change
from gateway.changes import record_of, rejected
from gateway.problems import Refused
from gateway.wire import decoded, too_many_fields
from tests.fuzz.target import Target


def check(raw: bytes) -> None:
    documents = decoded(raw)
    for index, document in enumerate(documents if isinstance(documents, list) else []):
        if too_many_fields(document):
            continue
        try:
            update = StockUpdate.model_validate(document)
        except ValidationError as error:
            rejected(index, error).model_dump_json()
            continue
        record = record_of(StockSet(item_id=update.item_id, stock=update.stock))
        assert decode_change(record.value) == StockSet(item_id=update.item_id, stock=update.stock)
    orjson.dumps(len(documents) if isinstance(documents, list) else 0)


TARGET = Target(
    check,
    {"one": b'[{"item_id":"a","stock":0}]', "two": b'[{"item_id":"a","stock":5},{"item_id":"b","stock":2147483647}]'},
    code=("contracts.api", "contracts.items", "gateway.wire", "gateway.changes"),
    refusals=(Refused,),
    words=(b'"item_id":', b'"stock":', b"2147483648", b"-1", b"1.5", b'"1"'),
)
