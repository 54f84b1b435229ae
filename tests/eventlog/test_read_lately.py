"""What a reader remembers of what it read: where a log parts from that, and where nothing can be told."""

from __future__ import annotations

from eventlog.contract import ERASED, Batch, Message, Topic
from eventlog.read_lately import KEPT, ReadLately


def messages(begin: int, *values: bytes) -> list[Message]:
    return [Message(begin + n, value) for n, value in enumerate(values)]


def having_read(*batches: list[Message]) -> ReadLately:
    lately = ReadLately()
    for batch in batches:
        lately.read(Batch(Topic.CLICKS, 0, batch[0].offset, batch[-1].offset + 1, batch))
    return lately


def test_it_parts_at_the_first_record_that_is_another_one_or_is_gone() -> None:
    lately = having_read(messages(5, b"a", b"b"), messages(7, b"c", b"d"))
    for held, parts in (
        (messages(5, b"a", b"b", b"c", b"d"), None),
        (messages(5, b"a", b"b", b"x", b"d"), 7),
        (messages(5, b"a", b"x", b"c", b"x"), 6),
        (messages(5, b"a", b"b"), 7),
        ([], 5),
    ):
        assert lately.parts_at(0, 5, held) == parts, held
    assert lately.parts_at(0, 7, messages(7, b"c", b"d")) is None  # what stood before was trimmed
    assert (lately.first(0), lately.newest(0), lately.newest(1)) == (5, 8, None)
    assert lately.parts_at(1, 0, []) is None


def test_an_erased_record_is_none_that_was_lost() -> None:
    lately = having_read(messages(0, b"a", b"b", b"c"))
    assert lately.parts_at(0, 0, messages(0, b"a", ERASED, b"c")) is None
    lately.read(Batch(Topic.CLICKS, 0, 3, 5, []))  # both were erased before they were read
    assert lately.newest(0) == 2
    assert lately.parts_at(0, 0, messages(0, b"a", b"b", b"c", ERASED, ERASED)) is None


def test_after_going_elsewhere_nothing_is_remembered_but_what_stands_before() -> None:
    lately = having_read(messages(0, b"a", b"b", b"c"))
    lately.seek(0, 2)
    assert (lately.first(0), lately.newest(0)) == (0, 1)
    lately.read(Batch(Topic.CLICKS, 0, 2, 3, messages(2, b"x")))
    assert lately.parts_at(0, 0, messages(0, b"a", b"b", b"x")) is None
    lately.seek(0, 9)
    assert lately.first(0) is None
    lately.read(Batch(Topic.CLICKS, 0, 9, 10, messages(9, b"z")))
    assert (lately.first(0), lately.newest(0)) == (9, 9)


def test_no_more_is_remembered_than_twice_what_is_kept() -> None:
    lately = ReadLately()
    for begin in range(0, 3 * KEPT, 500):
        lately.read(Batch(Topic.CLICKS, 0, begin, begin + 500, messages(begin, *[b"%d" % begin] * 500)))
        assert begin + 500 - (lately.first(0) or 0) <= 2 * KEPT
    assert lately.newest(0) == 3 * KEPT - 1
    assert (lately.first(0) or 0) >= KEPT
