"""Rows of the trends table: the kernel that reads many and `decode_trend` agree, and no number that is none gets in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from contracts.codec import decode_trend, encode_trend
from contracts.plausible import expect_trend
from retrieval.trend_columns import TrendColumns
from retrieval.trend_rows import joined
from tests.damage import NOW, a_trend
from tests.fuzz.target import Target

KEY = 99
KEYS = np.array([KEY], np.uint64)
LONE = replace(a_trend(), neighbours=np.empty(0, np.uint64), weights=np.empty((0, 3), np.float32))


def check(raw: bytes) -> None:
    try:
        joined([(KEY, raw)])
        is_taken = True
    except ValueError:
        is_taken = False
    try:
        trend = decode_trend(raw)
        expect_trend(trend)
    except ValueError:
        assert not is_taken
        raise
    assert is_taken
    assert encode_trend(trend) == raw
    columns = TrendColumns()
    columns.apply_rows([(KEY, raw)])
    numbers = (columns.ctr_of(KEYS), columns.views_of(KEYS, NOW), columns.neighbours_of(KEYS)[1])
    assert all(np.isfinite(each).all() for each in numbers)


TARGET = Target(
    check,
    {"two": encode_trend(a_trend()), "none": encode_trend(LONE)},
    code=("contracts.codec", "contracts.plausible", "retrieval.trend_rows", "retrieval.trend_columns"),
    refusals=(ValueError,),
)
