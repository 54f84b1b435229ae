"""Messages of Segment."""

from __future__ import annotations

from tests.connect.payloads import payload
from tests.fuzz.payloads import collecting
from tests.fuzz.target import dumped

TARGET = collecting(
    "segment",
    {"batch": dumped(payload("segment")), "one": dumped(payload("segment")["batch"][0])},
    (b'"Order Completed"', b'"products":', b'"product_id":', b'"sentAt":', b'"2026-12-01T12:00:00Z"'),
)
