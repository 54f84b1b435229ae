"""Requests of Matomo's tracking API."""

from __future__ import annotations

from tests.connect.payloads import payload
from tests.fuzz.payloads import collecting
from tests.fuzz.target import dumped

TARGET = collecting(
    "matomo",
    {"several": dumped(payload("matomo")), "one": dumped({"_pks": "a", "_id": "b", "_pkp": "1.299", "idgoal": "1"})},
    (b'"requests":', b"idgoal=0", b"ec_items=", b"_pks=", b'"ec_items":"[]"', b"cdt="),
)
