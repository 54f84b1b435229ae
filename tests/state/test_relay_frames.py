"""Which answers of Redis a relay keeps: what is asked for is told where it is, what is gone is said to be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.relay_frames import Frame, KeptFrames
from state.relay_memory import Place
from state.table_changes import ChangesTrimmed

SIZES = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 500)), min_size=1, max_size=30)


def framed(sizes: list[tuple[int, int]], begin: int) -> list[Frame]:
    """Frames of (changes, bytes), three to a segment."""
    frames = []
    for at, (count, length) in enumerate(sizes):
        frames.append(Frame(begin, begin + count, Place(at // 3, 0, length)))
        begin += count
    return frames


@given(sizes=SIZES, begin=st.integers(0, 2**40))
def test_every_change_that_is_kept_is_in_the_frame_that_is_told(sizes: list[tuple[int, int]], begin: int) -> None:
    kept, frames = KeptFrames(begin, most_changes=10**6, most_bytes=10**9), framed(sizes, begin)
    assert {kept.add(frame) for frame in frames} == {0}
    assert [kept.since(number) for number in range(begin, kept.end)] == [
        frame for frame in frames for _ in range(frame.first, frame.end)
    ]
    assert (kept.since(kept.end), kept.since(kept.end + 7)) == (None, None)


@given(sizes=SIZES, most_changes=st.integers(1, 60), most_bytes=st.integers(1, 3000))
def test_what_is_kept_is_bounded_and_needs_no_segment_before_the_one_that_is_told(
    sizes: list[tuple[int, int]], most_changes: int, most_bytes: int
) -> None:
    kept = KeptFrames(7, most_changes=most_changes, most_bytes=most_bytes)
    for frame in framed(sizes, 7):
        first = kept.add(frame)
        assert len(kept) <= most_changes
        assert kept.size <= most_bytes
        assert kept.end == frame.end
        oldest = kept.end - len(kept)
        found = [kept.since(number) for number in range(oldest, kept.end)]
        assert all(one is not None and one.place.segment >= first for one in found)
        with pytest.raises(ChangesTrimmed, match=f"wanted change {oldest - 1}, the oldest kept is {oldest}"):
            kept.since(oldest - 1)


@pytest.mark.parametrize(("first", "end"), [(4, 6), (6, 7), (5, 5), (5, 4)])
def test_a_frame_that_does_not_follow_is_refused_and_not_kept(first: int, end: int) -> None:
    kept = KeptFrames(5, most_changes=10, most_bytes=100)
    with pytest.raises(ChangesTrimmed, match=f"expected changes from number 5 on, got {first} to {end}"):
        kept.add(Frame(first, end, Place(0, 0, 1)))
    assert (kept.end, len(kept), kept.since(5)) == (5, 0, None)
