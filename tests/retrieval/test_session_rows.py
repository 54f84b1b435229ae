"""Rows of the ended-sessions table taken at once: what decoding one by one would have held and refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import ENDED_HEADER, EndedSession, decode_ended, encode_ended
from contracts.left_out import reason_of
from contracts.plausible import expect_ended
from retrieval.intake import take_rows
from retrieval.session_columns import SessionColumns
from tests.damage import NOW, TABLES, an_ended

UNTIL = "it does not vote until a later session takes its slot"
Reading = list[tuple[int, bytes | None]]
Sessions = dict[int, tuple[int, list[int]]]


def a_row(started_ms: int, items: list[int], taken: int = 0) -> bytes:
    return encode_ended(EndedSession(started_ms, np.array(items, np.uint64), taken))


STARTED, ITEMS = st.integers(0, 253_402_300_799_999), st.lists(st.integers(1, 2**64 - 1), max_size=25)
GOOD = st.builds(a_row, STARTED, ITEMS, st.integers(0, 2**20 - 1))
WRONG = st.sampled_from(list(TABLES["ended"].kinds().values()))


@st.composite
def flipped(draw: st.DrawFn) -> bytes:
    row = bytearray(draw(GOOD))
    row[draw(st.integers(0, len(row) - 1))] = draw(st.integers(0, 255))
    return bytes(row)


ROWS = st.none() | GOOD | WRONG | flipped()
READINGS = st.lists(st.lists(st.tuples(st.sampled_from((0, 1, 77, 2**70)), ROWS), max_size=9), max_size=4)


class Plain:
    """Sessions by slot, decoded one by one."""

    def __init__(self) -> None:
        self.held: Sessions = {}

    def apply_rows(self, rows: Reading) -> None:
        decoded = [(slot, decode_ended(row) if row is not None else None) for slot, row in rows]
        for _, session in decoded:
            if session is not None:
                expect_ended(session)
        np.fromiter((slot for slot, _ in rows), np.uint64, len(rows))
        for slot, session in decoded:
            self.held.pop(slot, None)
            if session is not None and len(session.items):
                self.held[slot] = session.started_ms, session.items[-20:].tolist()


def taken(readings: list[Reading], take: Callable[[Reading], None]) -> list[tuple[int, bytes, str]]:
    refused: list[tuple[int, bytes, str]] = []
    for reading in readings:
        take_rows(reading, take, lambda key, row, error: refused.append((key, row, reason_of(error))))
    return refused


def sessions_of(columns: SessionColumns) -> Sessions:
    keys, numbers = columns._items.slots
    items = dict(zip(numbers.tolist(), keys.tolist(), strict=True))
    rows = columns._slots.rows_of(np.array(columns.slots(), np.uint64)).tolist()
    clicks = [[one if one >= 0 else -2 - one for one in columns._clicks[row].tolist() if one != -1] for row in rows]
    return {
        slot: (int(columns._started[row]), [items[number] for number in numbers])
        for slot, row, numbers in zip(columns.slots(), rows, clicks, strict=True)
    }


@given(READINGS)
def test_rows_taken_at_once_are_held_and_refused_as_rows_decoded_one_by_one(readings: list[Reading]) -> None:
    columns, plain = SessionColumns(), Plain()
    assert taken(readings, columns.apply_rows) == taken(readings, plain.apply_rows)
    assert sessions_of(columns) == plain.held
    assert len(columns) == len(plain.held)


def test_each_bad_row_is_told_with_what_is_wrong_and_the_good_ones_around_it_are_taken() -> None:
    good = TABLES["ended"].row("good")
    rows: Reading = [(n, good) for n in range(300)]
    rows[100:100] = [(500, good[:-3]), (501, b""), (502, encode_ended(replace(an_ended(), started_ms=-1)))]
    columns = SessionColumns()
    assert [(slot, why) for slot, _, why in taken([rows], columns.apply_rows)] == [
        (500, "expected an ended session of whole items, got 30 bytes: it was cut short"),
        (501, f"expected ended-session codec 1 or 2 and a time, got b'': {UNTIL}"),
        (502, "expected epoch milliseconds up to 253402300799999, got -1"),
    ]  # fmt: skip
    assert len(columns) == 300


def test_the_header_is_as_a_session_is_encoded() -> None:
    head = np.frombuffer(TABLES["ended"].row("good")[:9], ENDED_HEADER)
    assert head.tolist() == [(1, NOW)]
