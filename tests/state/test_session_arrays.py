"""Many sessions as arrays: the bytes of `contracts.codec`, read and written by kernels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.codec import decode_session, encode_session
from contracts.plausible import expect_session
from contracts.sessions import CLICK, Session
from state.session_arrays import CLICKS, EVENTS, LAST, OFFSET, STARTED, SessionArrays
from tests.damage import SESSION_BLOBS, a_session, flipped

WIDTH, VERSION = 4, 5
USERS = st.none() | st.text(min_size=1, max_size=5)
KEYS = st.integers(0, 2**64 - 1)


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    """A session such as the flow writes, of this model or another."""
    clicks = draw(st.lists(st.tuples(st.integers(0, 10**13), KEYS, KEYS, st.integers(0, 255)), max_size=6))
    window = np.array(sorted(clicks), CLICK)
    last_ms = max([0, *window["ts_ms"].tolist()])
    dim = draw(st.sampled_from([0, WIDTH, 7]))
    return Session(
        session_id="s",
        user_id=draw(USERS),
        started_ms=draw(st.integers(0, last_ms)),
        last_ms=last_ms,
        events=draw(st.integers(len(window), 2**31 - 1)),
        last_offset=draw(st.integers(-1, 2**62)),
        window=window,
        embedding=np.array(
            draw(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=dim, max_size=dim)),
            np.float32,
        ),
        model_version=draw(st.sampled_from([VERSION, 2**64 - 1])),
        incomplete=draw(st.booleans()),
    )


def read(*blobs: bytes | None, text: bytes = b"", room: int = 3) -> tuple[SessionArrays, list[int]]:
    arrays, odd = SessionArrays.of(blobs, text, room=room, width=WIDTH, version=VERSION)
    return arrays, odd.tolist()


def is_session(blob: bytes) -> bool:
    try:
        expect_session(decode_session("s", blob))
    except (ValueError, UnicodeDecodeError):
        return False
    return True


@settings(deadline=None)
@given(st.lists(st.none() | sessions(), max_size=4))
def test_sessions_are_read_as_the_codec_reads_them(found: list[Session | None]) -> None:
    arrays, odd = read(*(None if one is None else encode_session(one) for one in found), text=b"more")
    for at, session in enumerate(found):
        assert arrays.exists[at] == (session is not None)
        if session is None:
            continue
        numbers = arrays.numbers[at].tolist()
        assert [numbers[column] for column in (STARTED, LAST, EVENTS, OFFSET, CLICKS)] == [
            *(session.started_ms, session.last_ms, session.events, session.last_offset, len(session.window))
        ]
        columns = (arrays.ts, arrays.items, arrays.events, arrays.codes)
        clicks = list(zip(*(column[at, : len(session.window)].tolist() for column in columns), strict=True))
        assert clicks == session.window.tolist()
        begin, length = arrays.users[at].tolist()
        assert bytes(arrays.text[begin : begin + length]).decode() == (session.user_id or "")
        assert arrays.incomplete[at] == session.incomplete
        is_current = session.model_version == VERSION and len(session.embedding) == WIDTH
        assert arrays.current[at] == is_current
        if is_current:
            assert arrays.states[at].tolist() == session.embedding.tolist()
        assert at not in odd or not (session.user_id or "").isascii()
    assert bytes(arrays.text[-4:]) == b"more"


@settings(deadline=None)
@given(st.lists(sessions(), min_size=1, max_size=4), st.data())
def test_sessions_are_written_as_the_codec_writes_them(found: list[Session], data: st.DataObject) -> None:
    found = [replace(one, embedding=np.arange(WIDTH, dtype=np.float32), model_version=VERSION) for one in found]
    blobs = [encode_session(one) for one in found]
    rows = data.draw(st.lists(st.integers(0, len(found) - 1), unique=True))
    arrays, _ = read(*blobs)
    assert arrays.encoded(np.array(rows, np.int64)) == [blobs[row] for row in rows]


@settings(max_examples=300, deadline=None)
@given(flipped(encode_session(a_session())))
@example(b"")
@example(encode_session(replace(a_session(), user_id="é")))
@example(encode_session(a_session()) + b"\xff")
def test_what_is_no_session_is_always_looked_at(blob: bytes) -> None:
    arrays, odd = read(blob)
    assert is_session(blob) or odd == [0]
    assert bool(arrays.exists[0]) or not is_session(blob)


@pytest.mark.parametrize("kind", SESSION_BLOBS)
def test_a_damaged_session_leaves_its_neighbours_as_they_are(kind: str) -> None:
    good = encode_session(a_session())
    arrays, odd = read(good, SESSION_BLOBS[kind], good)
    assert odd == [1]
    assert arrays.exists[[0, 2]].tolist() == [True, True]
    both = np.array([0, 2])
    assert arrays.encoded(both) == [good, good]


def test_a_window_larger_than_the_room_is_read_whole() -> None:
    window = np.array([(n, n, n, 1) for n in range(9)], CLICK)
    session = replace(a_session(), window=window, started_ms=0, last_ms=8, events=9)
    arrays, odd = read(encode_session(session), room=3)
    assert (arrays.ts[0, :9].tolist(), odd, arrays.ts.shape[1]) == (list(range(9)), [], 10)


def test_no_sessions_are_read_and_written() -> None:
    arrays, odd = read()
    assert (arrays.encoded(np.empty(0, np.int64)), odd) == ([], [])
