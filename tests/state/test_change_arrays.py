"""Changes read as arrays are the changes that are read one by one, however Redis's bytes come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.settings import RedisSettings
from state.async_tables import AsyncTableReader
from state.change_arrays import ChangeArrays, read_arrays
from state.raw_answers import RawAnswers, plain, plain_reader
from state.table_changes import Change, ChangesTrimmed, parse_changes
from state.tables import TableWriter

T = TypeVar("T")
Entry = tuple[bytes, list[bytes]]


def bulk(part: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(part), part)


def array(parts: Sequence[bytes]) -> bytes:
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def answer(entries: Sequence[Entry]) -> bytes:
    told = [array([bulk(name), array([bulk(field) for field in fields])]) for name, fields in entries]
    return array([array([bulk(b"nextclick:{trends}:changes"), array(told)])])


def raw_of(sent: bytes) -> np.ndarray:
    return np.frombuffer(sent, np.uint8)


KEYS = st.binary(min_size=8, max_size=8)
ROWS = st.binary(min_size=1, max_size=40)
ODD = st.sampled_from([b"", b"put", b"-1", b"1_0", b" 2", b"\r\n", b"x" * 9, b"99999999999999999999"])


@st.composite
def written(draw: st.DrawFn) -> list[Entry]:
    """Entries as a writer leaves them, one after the other."""
    entries: list[Entry] = []
    number = draw(st.integers(0, 2**50))
    for _ in range(draw(st.integers(1, 5))):
        count = draw(st.integers(1, 16))
        number += count
        keys = draw(st.lists(KEYS, min_size=count, max_size=count))
        told = b"%d" % count
        if draw(st.booleans()):
            fields = [b"put", told, *(part for key in keys for part in (key, draw(ROWS)))]
        else:
            fields = [b"delete", told, *keys, *([b""] if count % 2 else [])]
        entries.append((b"%d-1" % (number - 1), fields))
    return entries


@st.composite
def damaged(draw: st.DrawFn) -> list[Entry]:
    """As `written`, with one thing that is otherwise."""
    entries = draw(written())
    at = draw(st.integers(0, len(entries) - 1))
    name, fields = entries[at]
    place = draw(st.integers(0, len(fields)))
    kind = draw(st.sampled_from(["name", "field", "less", "more"]))
    if kind == "name":
        name = draw(ODD | st.just(b"7-1") | st.just(b"7-2"))
    elif kind == "more" or place == len(fields):
        fields.insert(place, draw(ODD))
    elif kind == "less":
        del fields[place]
    else:
        fields[place] = draw(ODD)
    entries[at] = name, fields
    return entries


def told(read: Callable[[], T]) -> T | str:
    """Return what is read, or why the table is to be loaded again."""
    try:
        return read()
    except ChangesTrimmed as error:
        return str(error)


def first_of(entries: Sequence[Entry]) -> int:
    name, fields = entries[0]
    return int(name.partition(b"-")[0]) + 1 - int(fields[1])


@given(written(), st.integers(0, 15))
def test_what_a_writer_left_is_read_as_arrays_to_the_byte(entries: list[Entry], later: int) -> None:
    since = min(first_of(entries) + later, int(entries[0][0][:-2]))
    found = read_arrays(raw_of(answer(entries)), since, 5)
    assert found is not None
    assert found.changes() == parse_changes(plain(raw_of(answer(entries))), since, 100)[0]
    assert found[1:3].changes() == found.changes()[1:3]
    assert (len(found), found.number) == (len(found.changes()), since)


@given(damaged(), st.integers(-2, 20))
@example([(b"7-1", [b"put", b"1", b"k" * 8, b""])], 0)
@example([(b"7-1", [b"put", b"1", b"k" * 7, b"row"])], 0)
@example([(b"7-1", [b"put", b"1", b"k" * 8, b"row"]), (b"9-1", [b"put", b"1", b"k" * 8, b"row"])], 0)
def test_what_is_read_as_arrays_is_what_is_read_one_by_one_and_anything_else_is_no_array(
    entries: list[Entry], later: int
) -> None:
    raw, since = raw_of(answer(entries)), later
    with suppress(ValueError, IndexError):
        since += first_of(entries)
    found = told(lambda: read_arrays(raw, since, 5))
    if found is not None:
        plainly = told(lambda: parse_changes(plain(raw), since, 100)[0])
        assert (found.changes() if isinstance(found, ChangeArrays) else found) == plainly


PARTS: st.SearchStrategy[bytes] = st.recursive(
    st.builds(bulk, st.binary(max_size=20))
    | st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b":12\r\n", b"+OK\r\n", b"-ERR no\r\n"]),
    lambda parts: st.lists(parts, max_size=4).map(array),
    max_leaves=12,
)


@given(st.lists(PARTS, min_size=1, max_size=4), st.lists(st.integers(0, 200), max_size=6), st.booleans())
def test_answers_are_the_same_wherever_their_bytes_are_cut(parts: list[bytes], cuts: list[int], late: bool) -> None:
    sent = b"".join(parts)
    plainly = plain_reader()
    plainly.feed(sent)
    wanted = [plainly.gets() for _ in parts]
    reader, found, places = RawAnswers(), [], sorted({0, *(cut for cut in cuts if cut < len(sent)), len(sent)})
    for begin, end in pairwise(places):
        reader.feed(sent[begin:end])
        while not late and (one := reader.gets()) is not False:
            found.append(one)
    while (one := reader.gets()) is not False:
        found.append(one)
    for one, part, plain_one in zip(found, parts, wanted, strict=True):
        if part[:1] == b"*" and part != b"*-1\r\n":
            assert one.tobytes() == part
        else:
            assert (type(one), str(one)) == (type(plain_one), str(plain_one))


@pytest.mark.parametrize(
    "sent", [b"?1\r\n", b"$x\r\n", b"$-2\r\n", b"*1\r\n$\r\n", b"*99999999999999999999\r\n", b"\r\n"]
)
def test_what_is_no_answer_is_refused(sent: bytes) -> None:
    reader = RawAnswers()
    reader.feed(sent)
    with pytest.raises(redis.InvalidResponse, match="expected an answer of Redis, got"):
        reader.gets()


async def test_a_reader_gives_arrays_of_what_was_committed_and_where_it_is_trimmed_says_so(
    redis_settings: RedisSettings,
) -> None:
    writer, reader = TableWriter(redis_settings, "things", kept_changes=100), AsyncTableReader(redis_settings, "things")
    writer.commit({n.to_bytes(8, "little"): b"row %d" % n for n in range(40)}, [b"a deletd", b"another1"])
    found = await reader.arrays(5)
    assert isinstance(found, ChangeArrays)
    assert found.changes() == await reader.changes(5)
    assert (found.number, len(found), found.rows()[0], found.rows()[-1]) == (
        5, 37, (5, b"row 5"), (int.from_bytes(b"another1", "little"), None),
    )  # fmt: skip
    assert await reader.arrays(42, block_ms=1) == []
    writer.commit({b"odd": b"a key that is no number of eight bytes"})
    assert await reader.arrays(42) == [Change(42, b"odd", b"a key that is no number of eight bytes")]
    writer.commit({n.to_bytes(8, "little"): b"x" for n in range(5_000)})
    with pytest.raises(ChangesTrimmed, match="wanted change 5"):
        await reader.arrays(5)
    writer.close()
    await reader.close()
