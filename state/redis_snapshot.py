"""The snapshot of a Redis at one moment: asked for as a replica asks for it (SYNC), written as an RDB file.

Redis forks and writes what it held at that moment, while it goes on taking writes. So log streams, state and offsets in
the file belong together, however busy the deployment is. Source: Redis's replication, and its RDB file format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import redis

from contracts.errors import NextclickError, OutputRefused, StateUnavailable
from contracts.settings import RedisSettings
from state.client import connect, redis_errors_translated

PATIENCE_MS = 60_000
"""Without a byte for longer than this the server is taken for gone. It writes an empty line each second meanwhile."""
_CHUNK = 1 << 20
_MARK = 40  # bytes of the mark that ends a snapshot of unknown length
MAGIC = b"REDIS"


class SnapshotRefused(NextclickError):
    """This Redis gives nobody a snapshot: its access rules or its provider forbid SYNC."""


def write_snapshot(settings: RedisSettings, path: Path) -> int:
    """Write an RDB file of all that Redis holds now; returns its bytes.

    Raises SnapshotRefused, StateUnavailable, and OSError for the file. What was written before an error is no snapshot.
    """
    patient = settings.model_copy(update={"timeout_ms": max(settings.timeout_ms, PATIENCE_MS)})
    with path.open("xb") as file, redis_errors_translated(patient), closing(connect(patient)) as client:
        pool = client.connection_pool
        connection = pool.get_connection()
        try:
            _greet(connection)
            connection.send_command("SYNC")
            with connection._sock.makefile("rb") as source:  # what follows is no answer of the protocol
                written = copy_snapshot(source, file)
        finally:
            connection.disconnect()
            pool.release(connection)
    sync_file(path)
    return written


def sync_file(path: Path) -> None:
    """Have a file on the disk. Raises OSError."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _greet(connection: Any) -> None:
    """Say what we are: one who takes a snapshot without a known length, and no changes after it."""
    for words in (("capa", "eof"), ("rdb-only", "1")):
        connection.send_command("REPLCONF", *words)
        with suppress(redis.ResponseError):  # older ones do not know it
            connection.read_response()


def copy_snapshot(source: IO[bytes], file: IO[bytes]) -> int:
    """Write what a server answers to SYNC, of a length that it says first or that a mark ends; returns its bytes.

    Raises SnapshotRefused, redis.ConnectionError for one that is cut short, redis.ResponseError.
    """
    head = source.readline()
    while head == b"\n":
        head = source.readline()
    if not head.endswith(b"\n"):
        raise redis.ConnectionError("the server closed the connection")
    if not head.startswith((b"$", b"-ERR", b"-NOPERM")):
        raise redis.ResponseError(head[1:].decode(errors="replace").strip())
    if not head.startswith(b"$"):
        raise SnapshotRefused(
            f"expected a snapshot from Redis (SYNC), got {head[1:].decode(errors='replace').strip():.200}"
        )
    if head.startswith(b"$EOF:"):
        mark = head[5:].strip()
        return _copied_to_mark(source, file, mark)
    return _copied_bytes(source, file, int(head[1:]))


def _copied_bytes(source: IO[bytes], file: IO[bytes], length: int) -> int:
    left = length
    while left:
        chunk = source.read(min(left, _CHUNK))
        if not chunk:
            raise redis.ConnectionError(f"the snapshot ended {left:,} bytes early")
        _write(file, chunk)
        left -= len(chunk)
    return length


def _copied_to_mark(source: IO[bytes], file: IO[bytes], mark: bytes) -> int:
    """Write all that comes before the mark: the last 40 bytes are held back until it is known what they are."""
    if len(mark) != _MARK:
        raise redis.ConnectionError(f"expected a mark of {_MARK} bytes, got {len(mark)}")
    held, written = b"", 0
    read = source.read1  # type: ignore[attr-defined]  # what is there, without waiting for more
    while held[-_MARK:] != mark:
        chunk = read(_CHUNK)
        if not chunk:
            raise redis.ConnectionError("the snapshot ended without its mark")
        held += chunk
        ready = len(held) - _MARK
        if ready > 0:
            _write(file, held[:ready])
            written += ready
            held = held[ready:]
    return written


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:  # not Redis's fault
        raise OutputRefused(f"{file.name}: the snapshot cannot be written: {error.strerror}") from error


class SnapshotFacts(NamedTuple):
    """What the beginning of an RDB file tells: the server's version; keys of its first database and how many of them
    expire, None where it does not say.
    """

    redis_version: str
    database: int | None = None
    keys: int | None = None
    expiring: int | None = None


def snapshot_facts(path: Path) -> SnapshotFacts:
    """Read the beginning of an RDB file. Raises StateUnavailable for another file."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise StateUnavailable(f"{path}: expected a snapshot of Redis, found another file")
        file.read(4)  # the version of the format
        return _facts(file)


def databases_at(path: Path) -> int:
    """Return where in an RDB file the first database begins, or its end mark is."""
    with path.open("rb") as file:
        file.read(len(MAGIC) + 4)
        while (code := file.read(1)[0]) in (0xFA, 0xF5):
            for _ in range(2 if code == 0xFA else 1):
                _string(file)
        return file.tell() - 1


def _facts(file: IO[bytes]) -> SnapshotFacts:
    version, database = "", None
    while operation := file.read(1):
        code = operation[0]
        if code == 0xFA:
            name, value = _string(file), _string(file)
            version = value.decode(errors="replace") if name in (b"redis-ver", b"valkey-ver") else version
        elif code == 0xF5:  # a library of functions
            _string(file)
        elif code == 0xFE:
            database = _length(file)
        elif code == 0xFB:
            return SnapshotFacts(version, database, _length(file), _length(file))
        elif code == 0xFF:
            return SnapshotFacts(version, 0, 0, 0)
        else:
            break
    return SnapshotFacts(version)


def _length(file: IO[bytes]) -> int:
    first = file.read(1)[0]
    kind = first >> 6
    if kind == 0:
        return first & 0x3F
    if kind == 1:
        return (first & 0x3F) << 8 | file.read(1)[0]
    return int.from_bytes(file.read(8 if first == 0x81 else 4), "big")


def _string(file: IO[bytes]) -> bytes:
    """Return a string; one that is a number as its bytes, one that is packed as it is."""
    first = file.read(1)
    if first[0] >> 6 != 3:
        file.seek(-1, os.SEEK_CUR)
        return file.read(_length(file))
    kind = first[0] & 0x3F
    if kind == 3:
        packed, _ = _length(file), _length(file)
        return file.read(packed)
    return file.read(1 << kind)


def database_of(settings: RedisSettings) -> int:
    """Return the number of the database that an address names."""
    with closing(connect(settings)) as client:
        return int(client.connection_pool.connection_kwargs.get("db") or 0)


def keys_of(client: Any, prefix: str, count: int = 1000) -> Iterator[list[bytes]]:
    """Return a deployment's keys, some at a time, each at least once."""
    yield from keys_like(client, f"{escaped(prefix)}:*", count)


def keys_like(client: Any, pattern: str, count: int = 1000) -> Iterator[list[bytes]]:
    """Return keys whose names are like a pattern, some at a time, each at least once."""
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, match=pattern, count=count)
        if keys:
            yield keys
        if not cursor:
            return


def escaped(prefix: str) -> str:
    """Return a pattern that only this text is like."""
    return "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in prefix)
