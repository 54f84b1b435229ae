"""Memory that a relay writes and others read: what was told of stays what it is, whatever comes or goes after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.relay_memory import Place, SegmentReader, Segments, base_of, remove_left

PARTS = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=40)


def raw(part: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(part, np.uint8)


@given(parts=PARTS, size=st.integers(1, 300))
def test_what_is_written_is_read_there(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], size: int) -> None:
    base = base_of(str(tmp_path_factory.mktemp("memory") / "s"), "trends")
    segments, reader = Segments(base, size=size), SegmentReader(base)
    places = [segments.write(raw(part)) for part in parts]
    assert [Place.read(place.told()) for place in places] == places
    assert [reader.read(place).tobytes() for place in places] == parts
    segments.close()


def test_what_is_given_up_is_gone_but_for_who_has_it(tmp_path: Path) -> None:
    base = base_of(str(tmp_path / "s"), "trends")
    segments, reader = Segments(base, size=8), SegmentReader(base)
    places = [segments.write(raw(b"%d" % n * 8)) for n in range(4)]
    had = reader.read(places[0])
    segments.give_up(3)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(FileNotFoundError):
        reader.read(places[1])
    assert (had.tobytes(), reader.read(places[3]).tobytes()) == (b"0" * 8, b"3" * 8)
    segments.give_up(9)  # never what is written
    assert reader.read(places[3]).tobytes() == b"3" * 8
    segments.close()
    assert list(tmp_path.iterdir()) == []


def test_another_writer_of_the_same_table_is_never_read_for_this_one(tmp_path: Path) -> None:
    base = base_of(str(tmp_path / "s"), "trends")
    first, second, reader = Segments(base), Segments(base), SegmentReader(base)
    one, other = first.write(raw(b"one")), second.write(raw(b"two"))
    assert (reader.read(one).tobytes(), reader.read(other).tobytes()) == (b"one", b"two")
    first.close()
    assert reader.read(other).tobytes() == b"two"
    second.close()


def test_what_a_killed_relay_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    socket = tmp_path / "relay.sock"
    Segments(base_of(str(socket), "trends")).write(raw(b"left"))
    Segments(base_of(str(socket), "items:3")).write(raw(b"left"))
    others = ["relay.sock", "relay.sock.note", "relay.sock.trends.1", "other.sock.trends.0a0b0c0d.0"]
    for name in others:
        (tmp_path / name).write_text("mine")
    remove_left(str(socket))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_others_may_not_read_a_segment(tmp_path: Path) -> None:
    segments = Segments(base_of(str(tmp_path / "s"), "trends"))
    segments.write(raw(b"one"))
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
    segments.close()


@pytest.mark.parametrize(
    "told", [b"", b"1 2 3", b"0a0b0c0d 1 2", b"0a0b0c0d -1 2 3", b"../../../ 1 2 3", b"0A0B0C0D 1 2 3"]
)
def test_what_is_no_place_is_refused(told: bytes) -> None:
    with pytest.raises(ValueError, match="expected a place in a segment"):
        Place.read(told)


def test_a_place_behind_the_end_is_refused(tmp_path: Path) -> None:
    base = base_of(str(tmp_path / "s"), "trends")
    segments, reader = Segments(base, size=8), SegmentReader(base)
    place = segments.write(raw(b"12345678"))
    with pytest.raises(ValueError, match="expected 8 bytes at 4 of a segment, it has 4 there"):
        reader.read(place._replace(offset=4))
    with pytest.raises(ValueError, match="expected 0 bytes"):
        reader.read(place._replace(length=0))
    segments.close()
