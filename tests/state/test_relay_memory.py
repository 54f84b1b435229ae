"""Memory that a relay writes and others read: what was told of stays what it is, whatever comes or goes after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state import relay_memory
from state.relay_memory import SegmentReader, Segments, memory_of, remove_left

PARTS = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=40)


def raw(part: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(part, np.uint8)


@given(parts=PARTS, size=st.integers(1, 300))
def test_what_is_written_is_read_there(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], size: int) -> None:
    segments, reader = Segments(tmp_path_factory.mktemp("a memory") / "s.trends", size=size), SegmentReader()
    told = [segments.told(segments.write(raw(part))) for part in parts]
    assert [reader.read(place).tobytes() for place in told] == parts
    segments.close()


def test_what_is_given_up_is_gone_but_for_who_has_it(tmp_path: Path) -> None:
    segments, reader = Segments(tmp_path / "s.trends", size=8), SegmentReader()
    told = [segments.told(segments.write(raw(b"%d" % n * 8))) for n in range(4)]
    had = reader.read(told[0])
    segments.give_up(3)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(FileNotFoundError):
        reader.read(told[1])
    assert (had.tobytes(), reader.read(told[3]).tobytes()) == (b"0" * 8, b"3" * 8)
    segments.give_up(9)  # never what is written
    assert reader.read(told[3]).tobytes() == b"3" * 8
    segments.close()
    assert list(tmp_path.iterdir()) == []


def test_another_writer_of_the_same_table_is_never_read_for_this_one(tmp_path: Path) -> None:
    first, second, reader = Segments(tmp_path / "s.trends"), Segments(tmp_path / "s.trends"), SegmentReader()
    one, other = first.told(first.write(raw(b"one"))), second.told(second.write(raw(b"two")))
    assert (reader.read(one).tobytes(), reader.read(other).tobytes()) == (b"one", b"two")
    first.close()
    assert reader.read(other).tobytes() == b"two"
    second.close()


def test_memory_is_shared_memory_unless_told_otherwise_and_of_one_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_memory, "SHARED_MEMORY", tmp_path)
    one, other = memory_of("/run/shop/relay.sock"), memory_of("/run/other/relay.sock")
    assert (one.parent, other.parent) == (tmp_path, tmp_path)
    assert one != other
    assert memory_of("/run/shop/relay.sock", "/run/shop").parent == Path("/run/shop")
    monkeypatch.setattr(relay_memory, "SHARED_MEMORY", tmp_path / "nowhere")
    assert memory_of("/run/shop/relay.sock") == Path("/run/shop") / one.name


def test_what_a_killed_relay_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    memory = memory_of("/run/shop/relay.sock", str(tmp_path))
    for table in ("trends", "items:3"):
        Segments(memory.with_name(f"{memory.name}.{table}")).write(raw(b"left"))
    assert len(list(tmp_path.iterdir())) == 2
    others = [memory.name, f"{memory.name}.note", f"{memory.name}.trends.1", "nextclick-other.trends.0a0b0c0d.0"]
    for name in others:
        (tmp_path / name).write_text("mine")
    remove_left(memory)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_others_may_not_read_a_segment(tmp_path: Path) -> None:
    segments = Segments(tmp_path / "s")
    segments.write(raw(b"one"))
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
    segments.close()


@pytest.mark.parametrize("told", [b"", b"1 2 3", b"/a 1", b"/a -1 2", b"/a 1 2 ", b"a 1 2", b"/a\0 1 2"])
def test_what_is_no_place_is_refused(told: bytes) -> None:
    with pytest.raises(ValueError, match="expected a place in a segment"):
        SegmentReader().read(told)


def test_a_place_behind_the_end_is_refused(tmp_path: Path) -> None:
    segments, reader = Segments(tmp_path / "s", size=8), SegmentReader()
    place = segments.write(raw(b"12345678"))
    with pytest.raises(ValueError, match="expected 8 bytes at 4 of a segment, it has 4 there"):
        reader.read(segments.told(place._replace(offset=4)))
    with pytest.raises(ValueError, match="expected 0 bytes"):
        reader.read(segments.told(place._replace(length=0)))
    segments.close()
