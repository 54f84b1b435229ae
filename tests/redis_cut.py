"""A Redis that dies with its machine: what it wrote last was answered, and is not there when it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from state.embedded import EmbeddedRedis


def append_only_file(folder: Path) -> Path:
    """Return the file that a server of ours appends to, of Redis 6 or 7."""
    [aof] = [*folder.glob("*.aof"), *folder.glob("appendonlydir/*.incr.aof")]
    return aof


@contextmanager
def losing_what_is_written(server: EmbeddedRedis) -> Iterator[None]:
    """Whatever is written inside is lost: the server is another one afterwards, which never heard of it."""
    aof = append_only_file(server.folder)
    size = aof.stat().st_size
    yield
    server.kill()
    with aof.open("r+b") as file:
        file.truncate(size)
    server.start()
