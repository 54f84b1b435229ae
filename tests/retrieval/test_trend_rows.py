"""Rows of the trends table written into columns at once: what one row at a time would have left, to the bit."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compiled.kernels import kernel, reads, writes
from compiled.lookups import half_bits
from contracts.codec import TREND_HEADER, ItemTrend, encode_trend
from contracts.left_out import reason_of
from retrieval.intake import take_rows
from retrieval.trend_columns import TrendColumns
from retrieval.trend_rows import EncodedTrends
from retrieval.trends import TrendRules
from tests.damage import NOW, TABLES, a_trend
from tests.retrieval.oracle_trend_columns import PlainTrends

RULES = TrendRules(neighbours=4, recent_neighbours=2, tracked=8, backward=0.3)
KEYS = (1, 2, 2**64 - 1)
COUNTS = st.floats(0, 2.0**99, width=32) | st.sampled_from([0.0, -0.0, 1e-40, 0.3, 2.0**-24, 7.0])
TIMES = st.integers(0, 253_402_300_799_999)
COLUMNS = (
    "_keys", "_neighbours", "_shares", "_heat", "_recent_heat", "_as_of_ms", "_counts", "_origins", "_held", "_sums",
)  # fmt: skip
Reading = list[tuple[int, bytes | None]]
Refusal = tuple[int, bytes, str]


def a_row(as_of_ms: int, counts: tuple[float, ...], pairs: Sequence[tuple[int, float, float, float]]) -> bytes:
    keys = np.array([key for key, *_ in pairs], np.uint64)
    weights = np.array([weights for _, *weights in pairs], np.float32).reshape(-1, 3)
    popularity, recent, views, entry, repeat, forward, back = counts
    return encode_trend(ItemTrend(as_of_ms, popularity, recent, views, keys, weights, (entry, repeat, forward, back)))


PAIRS = st.lists(st.tuples(st.integers(0, 2**64 - 1), COUNTS, COUNTS, COUNTS), max_size=7)
GOOD = st.builds(a_row, TIMES, st.tuples(*[COUNTS] * 7), PAIRS)
WRONG = st.sampled_from(list(TABLES["trends"].kinds().values()))


@st.composite
def flipped(draw: st.DrawFn) -> bytes:
    row = bytearray(draw(GOOD))
    row[draw(st.integers(0, len(row) - 1))] = draw(st.integers(0, 255))
    return bytes(row)


ROWS = st.none() | GOOD | WRONG | flipped()
READINGS = st.lists(st.lists(st.tuples(st.sampled_from((*KEYS, 2**70)), ROWS), max_size=9), max_size=4)


def taken(readings: list[Reading], take: Callable[[Reading], None]) -> list[Refusal]:
    """Take readings as a gateway does; return what was refused, and why."""
    refused: list[Refusal] = []
    for reading in readings:
        take_rows(reading, take, lambda key, row, error: refused.append((key, row, reason_of(error))))
    return refused


@given(READINGS)
def test_rows_taken_at_once_leave_what_rows_taken_one_by_one_leave(readings: list[Reading]) -> None:
    columns, plain = TrendColumns(RULES), PlainTrends(RULES)
    assert taken(readings, columns.apply_rows) == taken(readings, plain.apply_rows)
    keys = sorted(plain.shares)
    assert sorted(columns.held()) == keys
    rows = columns.rows_of(np.array(keys, np.uint64)).tolist()
    for row, key in zip(rows, keys, strict=True):
        assert columns._shares[row].tolist() == plain.shares[key].tolist()
        assert (columns._heat[row], columns._recent_heat[row]) == plain.heat[key]
        assert columns._counts[row].tolist() == plain.counts[key].tolist()
        assert columns._origins[row].tolist() == plain.origins[key].tolist()
        assert columns._neighbours[row].tolist() == plain.neighbours[key].tolist()
        assert columns._as_of_ms[row] == plain.as_of_ms[key]
    assert columns.transitions_per_item == plain.transitions / max(plain.known, 1)


def encoded(reading: Reading, before: int) -> EncodedTrends:
    """Return a reading as it stands somewhere among other bytes, in any order."""
    raw, places = bytearray(b"\xff" * before), []
    for _, row in reversed(reading):
        places.append((len(raw), len(raw) + len(row or b"")))
        raw += (row or b"") + b"\r\n"
    begins, ends = np.array(places[::-1], np.int64).reshape(-1, 2).T.copy()
    return EncodedTrends(np.array([key for key, _ in reading], np.uint64), np.frombuffer(raw, np.uint8), begins, ends)


def refusal(take: Callable[[], None]) -> str:
    """Return why it refuses; nothing where it does not."""
    try:
        take()
    except ValueError as error:
        return str(error)
    return ""


KEYED = READINGS.map(lambda readings: [[(key % 2**64, row or None) for key, row in some] for some in readings])


@given(KEYED, st.integers(0, 9))
def test_encoded_rows_leave_what_the_same_rows_one_by_one_leave_or_nothing(
    readings: list[Reading], before: int
) -> None:
    columns, plain = TrendColumns(RULES), TrendColumns(RULES)
    for reading in readings:
        assert refusal(partial(columns.apply_encoded, encoded(reading, before))) == refusal(
            partial(plain.apply_rows, reading)
        )
    for name in COLUMNS:
        assert getattr(columns, name).tobytes() == getattr(plain, name).tobytes()
    assert (len(columns), columns.held()) == (len(plain), plain.held())
    assert columns.rows_of(np.array(KEYS, np.uint64)).tolist() == plain.rows_of(np.array(KEYS, np.uint64)).tolist()


@kernel(reads("f4"), writes("u2"))
def _halves(values: np.ndarray, halves: np.ndarray) -> None:
    for at in range(values.shape[0]):
        halves[at] = half_bits(values[at])


def halves_of(values: np.ndarray) -> np.ndarray:
    halves = np.empty(len(values), np.uint16)
    _halves(values, halves)
    return halves


@given(st.lists(st.integers(0, 0x7F800000), min_size=1))
@example([0x387FFFFF, 0x387FE000, 0x33000000, 0x33000001, 0x32FFFFFF, 0x477FEFFF, 0x477FF000, 0x47800000, 0x7F800000])
def test_half_precision_is_rounded_as_numpy_rounds_it(bits: list[int]) -> None:
    values = np.array(bits, np.uint32).view(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        assert halves_of(values).tolist() == values.astype(np.float16).view(np.uint16).tolist()


def test_every_half_and_every_middle_between_two_is_rounded_as_numpy_rounds_it() -> None:
    exact = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = (exact[:-1] + exact[1:]) / 2
    values = np.concatenate([exact, middles, np.nextafter(middles, 0), np.nextafter(middles, np.float32(1e9))])
    assert halves_of(values).tolist() == values.astype(np.float16).view(np.uint16).tolist()


def test_good_rows_around_bad_ones_are_taken_and_each_bad_one_is_told_with_what_is_wrong() -> None:
    columns, good = TrendColumns(), TABLES["trends"].row("good")
    rows: Reading = [(n, good) for n in range(1, 1000)]
    rows[17:17] = [(5000, b"\x03cut")]
    rows[500:500] = [(5001, good[:-1])]
    rows[900:900] = [(5002, encode_trend(replace(a_trend(), views=-1.0)))]
    assert taken([rows], columns.apply_rows) == [
        (5000, b"\x03cut", "expected trend of version 4, got 3: let the trends flow start afresh"),
        (5001, good[:-1], "expected a trend of 2 neighbours, got 78 bytes: it was cut short"),
        (5002, rows[900][1], "expected counts from 0 to 1e+18, got (8.0, 4.0, -1.0, 1.0, 0.0, 3.0, 2.0)"),
    ]
    assert len(columns) == 999
    assert columns.popularity_of(np.arange(1, 1000, dtype=np.uint64), NOW).tolist() == [8.0] * 999


def test_a_row_that_a_later_one_replaces_is_looked_at_too() -> None:
    columns, good = TrendColumns(), TABLES["trends"].row("good")
    assert [key for key, *_ in taken([[(1, b"\x03cut"), (1, good)]], columns.apply_rows)] == [1]
    assert columns.popularity_of(np.array([1], np.uint64), NOW).tolist() == [8.0]


def test_the_header_is_as_kernels_read_it() -> None:
    fields = TREND_HEADER.fields
    assert fields is not None
    assert {name: place for name, (_, place, *_) in fields.items()} == {
        "codec": 0, "neighbours": 1, "as_of_ms": 3, "counts": 11, "origin_counts": 23,
    }  # fmt: skip
    assert struct.unpack_from("<BHq", TABLES["trends"].row("good")) == (4, 2, NOW)


@pytest.mark.parametrize("count", [0, 1, 3000])
def test_as_many_rows_as_come_are_taken_at_once(count: int) -> None:
    columns = TrendColumns()
    columns.apply_rows([(n + 1, TABLES["trends"].row("good")) for n in range(count)])
    assert (len(columns), columns.transitions_per_item) == (count, 5.0 if count else 0.0)
