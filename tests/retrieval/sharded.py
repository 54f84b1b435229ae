"""Shards of an index in threads of this process: what tests ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns
from retrieval.shard_frames import Answer, Places, Search
from retrieval.shard_sockets import Door, Respond


class Taken(Protocol):
    """Says which changes of the table the shards take next."""

    taken: Places


@contextmanager
def served(door: Door) -> Iterator[Door]:
    """Have a door answer in a thread."""
    stopping = threading.Event()

    def serve() -> None:
        while not stopping.is_set():
            door.turn(0.5)
        door.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield door
    finally:
        stopping.set()
        door.post(lambda: None)
        thread.join()


def respond_from(columns: CatalogueColumns, index: AnnIndex, taken: Taken) -> Respond:
    """Return what answers from an index, as a shard does."""

    def respond(search: Search) -> Answer:
        rows, similarity = index.search(search.queries, search.k, search.filters)
        none = rows < 0
        keys = np.where(none, np.uint64(0), columns.keys[rows]) if columns.count else np.zeros(rows.shape, np.uint64)
        return Answer(taken.taken, keys, np.where(none, np.float32(-np.inf), similarity))

    return respond
