"""Frames between gateways and shards: what is sent is read, and nothing else is taken."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.filters import Filter
from retrieval.shard_frames import Answer, Search, decode_answer, decode_search, encode_answer, encode_search
from retrieval.shard_heads import HEADER, BadFrame, Head, Kind, framed, head_of

SEARCH = Search(7, 1, 4, 10, np.array([[0.6, 0.8], [1.0, 0.0]], np.float32), [Filter("shoes", "DE", True), None])


def test_a_search_and_its_answer_are_read_as_they_were_written() -> None:
    found = decode_search(encode_search(SEARCH))
    assert found._replace(queries=SEARCH.queries) == SEARCH
    assert found.queries.tolist() == SEARCH.queries.tolist()
    answer = Answer(
        (12,), np.array([[5, 2**63], [9, 0]], np.uint64), np.array([[0.9, 0.5], [0.1, -np.inf]], np.float32)
    )
    read = decode_answer(encode_answer(answer), 2, 2)
    assert (read.numbers, read.keys.tolist()) == ((12,), [[5, 2**63], [9, 0]])
    assert read.similarity.tolist() == answer.similarity.tolist()


def test_an_answer_of_one_table_is_as_ever_and_one_of_several_says_how_far_it_is_in_each() -> None:
    keys, similarity = np.array([[5]], np.uint64), np.array([[0.5]], np.float32)
    body = encode_answer(Answer((12,), keys, similarity))
    assert body == b"\x0c" + bytes(7) + b"\x01\x00\x01\x00" + bytes(4) + b"\x05" + bytes(7) + b"\x00\x00\x00\x3f"
    read = decode_answer(encode_answer(Answer((12, 0, 2**40), keys, similarity)), 1, 1)
    assert (read.numbers, read.keys.tolist(), read.similarity.tolist()) == ((12, 0, 2**40), [[5]], [[0.5]])
    with pytest.raises(BadFrame, match="expected up to 64 shards of the catalogue, got 65"):
        decode_answer(encode_answer(Answer((1,) * 65, keys, similarity)), 1, 1)


def test_a_header_is_sixteen_bytes_little_endian() -> None:
    assert framed(Kind.SEARCH, 258, b"abc") == b"NCIX\x01\x01\x00\x00\x02\x01\x00\x00\x03\x00\x00\x00abc"
    assert head_of(framed(Kind.REFUSAL, 3, b"")[: HEADER.size]) == Head(Kind.REFUSAL, 3, 0)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"HTTP\x01\x01\x00\x00" + bytes(8), "expected a frame NCIX of version 1"),
        (b"NCIX\x02\x01\x00\x00" + bytes(8), "got b'NCIX' of version 2"),
        (b"NCIX\x01\x09\x00\x00" + bytes(8), "expected a frame of a kind from 1 to 3, got 9"),
        (b"NCIX\x01\x01\x00\x00" + bytes(4) + b"\xff\xff\xff\xff", "expected at most 32,000,000 bytes in a frame"),
    ],
)
def test_a_header_that_is_none_of_ours_is_refused_with_what_is_wrong(head: bytes, said: str) -> None:
    with pytest.raises(BadFrame, match=said):
        head_of(head)


def test_a_search_of_wrong_sizes_or_numbers_is_refused() -> None:
    body = encode_search(SEARCH)
    with pytest.raises(BadFrame, match="expected finite numbers"):
        decode_search(encode_search(SEARCH._replace(queries=np.array([[np.nan, 0.0]], np.float32), filters=())))
    with pytest.raises(BadFrame, match="expected a filter for each of 2 queries, got 1"):
        decode_search(encode_search(SEARCH._replace(filters=[Filter("shoes")])))
    with pytest.raises(BadFrame, match="expected filters as JSON"):
        decode_search(body[:-1] + b"x")
    with pytest.raises(BadFrame, match="expected up to 1024 queries"):
        decode_search(struct.pack("<QHHHHHHI", 7, 0, 1, 2000, 2, 10, 0, 0))
    with pytest.raises(ValueError, match="k 4096"):
        encode_search(SEARCH._replace(k=5000))
    with pytest.raises(BadFrame, match="expected 3 items for each of 2 queries"):
        decode_answer(encode_answer(Answer((1,), np.zeros((2, 2), np.uint64), np.zeros((2, 2), np.float32))), 2, 3)


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 255))
def test_bytes_that_were_cut_changed_or_made_up_are_read_or_refused_and_nothing_else(
    noise: bytes, at: int, byte: int
) -> None:
    body = bytearray(encode_search(SEARCH))
    body[at % len(body)] = byte
    for raw in (noise, bytes(body), bytes(body[:at])):
        for read in (decode_search, lambda raw: decode_answer(raw, 2, 2)):
            with suppress(BadFrame):
                read(raw)
