"""What a relay keeps of a table's changes, and what it answers of them: as Redis would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.raw_answers import RawAnswers, plain
from state.relay_entries import KeptEntries, answer_of
from state.table_changes import Change, ChangesTrimmed, entries_of, parse_changes

STREAM = b"nc:{trends}:changes"
CHANGES = st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.none() | st.binary(min_size=1, max_size=40)))


def numbered(rows: list[tuple[bytes, bytes | None]], begin: int) -> list[Change]:
    return [Change(number, key, row) for number, (key, row) in enumerate(rows, begin)]


def kept(begin: int = 0, *, most_changes: int = 10**6, most_bytes: int = 10**9) -> KeptEntries:
    return KeptEntries(begin, most_changes=most_changes, most_bytes=most_bytes)


def read(entries: list[bytes], since: int, count: int) -> list[Change]:
    """Return what a follower reads in an answer made of these entries."""
    reader = RawAnswers()
    reader.feed(b"".join(answer_of(STREAM, entries)))
    answer = reader.gets()
    return parse_changes(None if answer is None else plain(answer), since, count)[0]


def test_one_entry_is_as_a_writer_leaves_it() -> None:
    some = kept(5)
    some.add([Change(5, b"a", b"row"), Change(6, b"b", b"w")])
    assert some.since(5, 1) == [
        b"*2\r\n$3\r\n6-1\r\n*6\r\n$3\r\nput\r\n$1\r\n2\r\n$1\r\na\r\n$3\r\nrow\r\n$1\r\nb\r\n$1\r\nw\r\n"
    ]


@given(begin=st.integers(0, 2**40), rows=CHANGES, parts=st.lists(st.integers(1, 40)), data=st.data())
def test_whoever_follows_reads_every_change_once_and_in_order(
    begin: int, rows: list[tuple[bytes, bytes | None]], parts: list[int], data: st.DataObject
) -> None:
    some, left = kept(begin), numbered(rows, begin)
    for part in [*parts, len(left)]:
        some.add(left[:part])
        left = left[part:]
    assert (some.end, len(some)) == (begin + len(rows), len(rows))
    place = begin + data.draw(st.integers(0, len(rows)))
    wanted = numbered(rows, begin)[place - begin :]
    count = data.draw(st.integers(1, 50))
    found: list[Change] = []
    while more := read(some.since(place + len(found), entries_of(count)), place + len(found), count):
        found += more
    assert found == wanted


@given(rows=CHANGES, most_changes=st.integers(1, 50), most_bytes=st.integers(1, 2000))
def test_what_is_kept_is_bounded_and_what_is_gone_is_said_to_be(
    rows: list[tuple[bytes, bytes | None]], most_changes: int, most_bytes: int
) -> None:
    some = kept(7, most_changes=most_changes, most_bytes=most_bytes)
    for change in numbered(rows, 7):
        some.add([change])
        assert len(some) <= most_changes
        assert some.size <= most_bytes
    oldest = some.end - len(some)
    assert [change.number for change in read(some.since(oldest, 10**6), oldest, 10**6)] == list(range(oldest, some.end))
    if oldest > 0:
        with pytest.raises(ChangesTrimmed, match=f"wanted change {oldest - 1}, the oldest kept is {oldest}"):
            some.since(oldest - 1, 1)


@pytest.mark.parametrize("numbers", [[4], [6], [5, 7], [5, 5]])
def test_changes_that_do_not_follow_are_refused_and_nothing_is_kept_of_them(numbers: list[int]) -> None:
    some = kept(5)
    with pytest.raises(ChangesTrimmed, match="expected changes from number 5 on"):
        some.add([Change(number, b"k", b"r") for number in numbers])
    assert (some.end, len(some), some.since(5, 9)) == (5, 0, [])


def test_long_use_keeps_lists_short() -> None:
    some = kept(0, most_changes=100)
    for number in range(20_000):
        some.add([Change(number, b"k", b"r")])
    assert len(some._entries) < 3000
    assert [change.number for change in read(some.since(19_950, 10), 19_950, 10)] == list(range(19_950, 19_960))
