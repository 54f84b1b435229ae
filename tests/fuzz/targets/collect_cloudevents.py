"""CloudEvents, one and in a batch."""

from __future__ import annotations

from tests.connect.payloads import payload
from tests.fuzz.payloads import collecting
from tests.fuzz.target import dumped

TARGET = collecting(
    "cloudevents",
    {"batch": dumped(payload("cloudevents")), "one": dumped(payload("cloudevents")[0])},
    (b'"data":', b'"data_base64":', b'"type":"view"', b'"1.0"', b'"subject":', b'"lines":'),
)
