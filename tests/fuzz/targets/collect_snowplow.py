"""Payloads of Snowplow's trackers."""

from __future__ import annotations

from tests.connect.payloads import ecommerce, payload
from tests.fuzz.payloads import collecting
from tests.fuzz.target import dumped

TARGET = collecting(
    "snowplow",
    {
        "order": dumped(payload("snowplow_transaction")),
        "action": dumped(ecommerce("transaction", {"id": "a", "price": 2})),
    },
    (b'"ue_pr":', b'"co":', b'"ti"', b'"ti_sk":', b'"dtm":', b'"stm":'),
)
