"""Payloads of Google Analytics 4."""

from __future__ import annotations

from tests.connect.payloads import payload
from tests.fuzz.payloads import collecting
from tests.fuzz.target import dumped

TARGET = collecting(
    "ga4",
    {"whole": dumped(payload("ga4"))},
    (b'"view_item"', b'"items":', b'"item_id":', b'"event_params":', b'"event_name":', b"1796126400000000"),
)
