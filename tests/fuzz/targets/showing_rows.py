"""Blocks of the showings table."""

from __future__ import annotations

import numpy as np

from contracts.codec import decode_showings, encode_showings
from contracts.plausible import expect_showings
from gateway.replicas import into_showings
from retrieval.trend_columns import TrendColumns
from tests.damage import some_showings
from tests.fuzz.target import Target


def check(raw: bytes) -> None:
    block = decode_showings(raw)
    expect_showings(block)
    header = 8
    assert encode_showings(block)[header:] == raw[header:]
    columns = TrendColumns()
    into_showings(columns)([(3, raw)])
    assert np.isfinite(columns.ctr_of(block.keys)).all()


TARGET = Target(
    check,
    {"two": encode_showings(some_showings()), "none": encode_showings(some_showings())[:4] + bytes(4)},
    code=("contracts.codec", "contracts.plausible", "retrieval.trend_columns"),
    refusals=(ValueError,),
)
