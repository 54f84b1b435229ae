"""Identities: the names of events, items and sessions, and the partition a name belongs to."""

from __future__ import annotations

from functools import lru_cache
from typing import NewType

import xxhash

EventId = NewType("EventId", str)
ItemId = NewType("ItemId", str)
SessionId = NewType("SessionId", str)
UserId = NewType("UserId", str)

ItemKey = NewType("ItemKey", int)
"""Unsigned 64-bit hash (xxh3) of an item id: the item's name inside arrays, in every process alike."""

EventKey = NewType("EventKey", int)
"""Unsigned 64-bit hash (xxh3) of an event id: what duplicates are recognised by."""

Partition = NewType("Partition", int)

DEFAULT_PARTITIONS = 8

_MASK = 0xFFFFFFFF
_MURMUR_M = 0x5BD1E995
_MURMUR_SEED = 0x9747B28C


def unremembered_item_key(item_id: str) -> ItemKey:
    """Return the 64-bit key of an item id that is met once, as in a load: a remembered one costs four times as much."""
    return ItemKey(xxhash.xxh3_64_intdigest(item_id.encode()))


@lru_cache(maxsize=200_000)
def item_key(item_id: str) -> ItemKey:
    """Return the 64-bit key of an item id."""
    return unremembered_item_key(item_id)


def event_key(event_id: str) -> EventKey:
    """Return the 64-bit key of an event id."""
    return EventKey(xxhash.xxh3_64_intdigest(event_id.encode()))


def murmur2(key: bytes) -> int:
    """Hash bytes as Kafka's default partitioner does (MurmurHash2, 32 bit, Kafka's seed)."""
    length = len(key)
    h = (_MURMUR_SEED ^ length) & _MASK
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little")
        k = (k * _MURMUR_M) & _MASK
        k ^= k >> 24
        k = (k * _MURMUR_M) & _MASK
        h = ((h * _MURMUR_M) & _MASK) ^ k
    rest = key[whole:]
    if rest:
        h ^= int.from_bytes(rest, "little")
        h = (h * _MURMUR_M) & _MASK
    h ^= h >> 13
    h = (h * _MURMUR_M) & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=100_000)
def partition_of(name: str, partitions: int) -> Partition:
    """Return the partition of a session or item id: Kafka's default for that key.

    A site that already produces to Kafka with the session id as the key is therefore already right.
    """
    return Partition((murmur2(name.encode()) & 0x7FFFFFFF) % partitions)
