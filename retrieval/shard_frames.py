"""What gateways and the shards of the index say to each other: frames of a fixed header and arrays, little-endian.

A frame is a header of 16 bytes (magic, version, kind, id, length of what follows) and a body. A search is answered by
an answer or a refusal of the same id. Sizes are bounded before anything is read. For a private network: nothing is
encrypted, and whoever reaches a shard may ask it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from retrieval.filters import Filter
from retrieval.key_rows import Keys
from retrieval.shard_heads import SEARCH, BadFrame

Float32s = NDArray[np.float32]

_ANSWER: Final = struct.Struct("<QHHI")
MOST_QUERIES, MOST_DIM, MOST_K = 1024, 4096, 4096
MOST_PLACES: Final = 64
"""Shards of the catalogue's table, at most."""
_MOST_NAME = 1000


Places = tuple[int, ...]
"""The next change of each shard of the catalogue's table; of a table in one piece, one number."""


class Search(NamedTuple):
    """Queries (b, d) of the item tower `model`, asked of shard `shard` of `of`."""

    model: int
    shard: int
    of: int
    k: int
    queries: Float32s
    filters: Sequence[Filter | None] = ()
    """One a query, or none. Conditions over documents (`keep`) do not travel: who asks applies them."""


class Answer(NamedTuple):
    """The nearest items of a share: keys (b, k) and similarities (b, k), best first; -inf where there are fewer.
    `numbers` are the next changes that the shard takes, of each shard of the catalogue's table.
    """

    numbers: Places
    keys: Keys
    similarity: Float32s


_Name = Annotated[str, msgspec.Meta(max_length=_MOST_NAME)]
_decode_filters = msgspec.json.Decoder(list[tuple[_Name | None, _Name | None, bool] | None]).decode


def encode_search(search: Search) -> bytes:
    """Return the body of a search. What is beyond the bounds is the caller's mistake: ValueError."""
    b, dim = search.queries.shape
    if b > MOST_QUERIES or dim > MOST_DIM or search.k > MOST_K:
        raise ValueError(
            f"expected up to {MOST_QUERIES} queries of {MOST_DIM} numbers and k {MOST_K}, got {b}, {dim}, {search.k}"
        )
    filters = b""
    if any(one is not None for one in search.filters):
        filters = msgspec.json.encode([None if one is None else one[:3] for one in search.filters])
    head = SEARCH.pack(search.model, search.shard, search.of, b, dim, search.k, 0, len(filters))
    return head + np.ascontiguousarray(search.queries, "<f4").tobytes() + filters


def decode_search(body: bytes | bytearray) -> Search:
    """Read the body of a search. Raises BadFrame."""
    if len(body) < SEARCH.size:
        raise BadFrame(f"expected a search of at least {SEARCH.size} bytes, got {len(body)}")
    model, shard, of, b, dim, k, _, told = SEARCH.unpack_from(body)
    if not (b <= MOST_QUERIES and 0 < dim <= MOST_DIM and 0 < k <= MOST_K):
        raise BadFrame(
            f"expected up to {MOST_QUERIES} queries of 1 to {MOST_DIM} numbers and k from 1 to {MOST_K}, "
            f"got {b}, {dim}, {k}"
        )
    end = SEARCH.size + 4 * b * dim
    if len(body) != end + told:
        raise BadFrame(f"expected {end + told:,} bytes in a search of {b} queries, got {len(body):,}")
    queries = np.frombuffer(body, "<f4", b * dim, SEARCH.size).reshape(b, dim)
    if not np.isfinite(queries).all():
        raise BadFrame("expected finite numbers in queries, got NaN or infinity")
    return Search(model, shard, of, k, queries.astype(np.float32, copy=False), _filters(bytes(body[end:]), b))


def _filters(raw: bytes, b: int) -> Sequence[Filter | None]:
    if not raw:
        return ()
    try:
        found = _decode_filters(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"expected filters as JSON, got something else: {error}") from error
    if len(found) != b:
        raise BadFrame(f"expected a filter for each of {b} queries, got {len(found)}")
    return [None if one is None else Filter(*one) for one in found]


def encode_answer(answer: Answer) -> bytes:
    b, k = answer.keys.shape
    first, *others = answer.numbers
    head = _ANSWER.pack(first, b, k, len(others)) + struct.pack(f"<{len(others)}Q", *others)
    return head + answer.keys.astype("<u8").tobytes() + answer.similarity.astype("<f4").tobytes()


def decode_answer(body: bytes | bytearray, b: int, k: int) -> Answer:
    """Read the body of an answer to b queries for k items each. Raises BadFrame."""
    if len(body) < _ANSWER.size:
        raise BadFrame(f"expected an answer of at least {_ANSWER.size} bytes, got {len(body)}")
    first, got_b, got_k, others = _ANSWER.unpack_from(body)
    if others >= MOST_PLACES:
        raise BadFrame(f"expected up to {MOST_PLACES} shards of the catalogue, got {others + 1:,}")
    begin = _ANSWER.size + 8 * others
    if (got_b, got_k) != (b, k) or len(body) != begin + 12 * b * k:
        raise BadFrame(f"expected {k} items for each of {b} queries, got {got_k} for {got_b} in {len(body):,} bytes")
    numbers = (first, *struct.unpack_from(f"<{others}Q", body, _ANSWER.size))
    keys = np.frombuffer(body, "<u8", b * k, begin).reshape(b, k)
    similarity = np.frombuffer(body, "<f4", b * k, begin + 8 * b * k).reshape(b, k)
    return Answer(numbers, keys.astype(np.uint64, copy=False), similarity.astype(np.float32, copy=False))
