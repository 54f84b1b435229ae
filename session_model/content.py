"""What an item's content is to the model: hashed tokens, by field. Training and serving both read it here.

A token is a word of the title, a prefix of the category path, a price bucket and so on, named by the xxh3 hash of
field and text, so that no vocabulary of strings travels with the model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from contracts.items import Item

MAX_DESCRIPTION_WORDS = 48
MAX_ATTRIBUTES = 32
PRICE_BUCKETS_PER_DOUBLING = 2

_WORD = re.compile(r"\w\w+")


class Field(IntEnum):
    """The fields that content is read from. Each has one learnt weight; the order is part of the artifact."""

    CATEGORY = 0
    BRAND = 1
    SUPPLIER = 2
    PRICE = 3
    TITLE = 4
    DESCRIPTION = 5
    ATTRIBUTE = 6


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of n items, flat: `keys`, `items` (row, ascending) and `fields`, each of shape (tokens,)."""

    count: int
    keys: NDArray[np.uint64]
    items: NDArray[np.int64]
    fields: NDArray[np.uint8]


def tokens_of(items: Sequence[Item]) -> Tokens:
    """Read the tokens of items. A token counts once in each field of an item."""
    keys: list[int] = []
    fields: list[int] = []
    lengths: list[int] = []
    for item in items:
        before = len(keys)
        for field, found in _fields(item):
            keys.extend(found)
            fields.extend([field] * len(found))
        lengths.append(len(keys) - before)
    return Tokens(
        count=len(items),
        keys=np.array(keys, np.uint64),
        items=np.repeat(np.arange(len(items)), lengths),
        fields=np.array(fields, np.uint8),
    )


def bag_weights(items: NDArray[np.int64], fields: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the weight of each token (tokens,): one over how many its item has in that field."""
    bags = items * len(Field) + fields
    return (1.0 / np.bincount(bags)[bags]).astype(np.float32) if len(bags) else np.empty(0, np.float32)


def image_rows(items: Sequence[Item], length: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return which items carry an image vector of `length` (m,), and those vectors at unit norm (m, length)."""
    rows = [row for row, item in enumerate(items) if item.image_vector is not None and len(item.image_vector) == length]
    vectors = np.array([items[row].image_vector for row in rows], np.float32).reshape(len(rows), length)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.array(rows, np.intp), vectors / np.maximum(norms, 1e-12)


def _fields(item: Item) -> Iterator[tuple[Field, Sequence[int]]]:
    if item.category:
        yield Field.CATEGORY, _category(item.category)
    if item.brand:
        yield Field.BRAND, (_key(Field.BRAND, item.brand.lower()),)
    if item.supplier:
        yield Field.SUPPLIER, (_key(Field.SUPPLIER, item.supplier.lower()),)
    if item.price is not None and item.price > 0.0:
        bucket = math.floor(PRICE_BUCKETS_PER_DOUBLING * math.log2(item.price))
        yield Field.PRICE, (_key(Field.PRICE, str(bucket)),)
    yield Field.TITLE, _words(Field.TITLE, item.title, None)
    if item.description:
        yield Field.DESCRIPTION, _words(Field.DESCRIPTION, item.description, MAX_DESCRIPTION_WORDS)
    if item.attributes:
        yield Field.ATTRIBUTE, _attributes(item.attributes)


@lru_cache(maxsize=50_000)
def _category(path: str) -> tuple[int, ...]:
    parts = [part for part in path.lower().split("/") if part]
    return tuple(_key(Field.CATEGORY, "/".join(parts[: depth + 1])) for depth in range(len(parts)))


def _words(field: Field, text: str, limit: int | None) -> list[int]:
    return [_key(field, word) for word in list(dict.fromkeys(_WORD.findall(text.lower())))[:limit]]


def _attributes(attributes: dict[str, Any]) -> list[int]:
    texts: list[str] = []
    for name, value in attributes.items():
        values = value if isinstance(value, list) else [value]
        texts.extend(f"{name}={one}".lower() for one in values if isinstance(one, str | int | float))
    return [_key(Field.ATTRIBUTE, text) for text in list(dict.fromkeys(texts))[:MAX_ATTRIBUTES]]


@lru_cache(maxsize=200_000)
def _key(field: Field, text: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{field:d}:{text}".encode())
