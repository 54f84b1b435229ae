"""All that a Redis and folders hold, as bytes to be searched: keys and values of every kind, files unpacked."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import redis as redis_client
import zstandard

from contracts.settings import RedisSettings


def everything_in(settings: RedisSettings) -> bytes:
    """Return all keys and values of a Redis, end to end. Values are read, not dumped: a dump may be compressed."""
    client: Any = redis_client.Redis.from_url(settings.url)
    try:
        return b"\n".join(part for key in client.scan_iter(count=1000) for part in (key, *_of(client, key)))
    finally:
        client.close()


def _of(client: Any, key: bytes) -> Iterator[bytes]:
    kind = client.type(key)
    if kind == b"string":
        yield client.get(key) or b""
    elif kind == b"hash":
        yield from (part for pair in client.hgetall(key).items() for part in pair)
    elif kind == b"list":
        yield from client.lrange(key, 0, -1)
    elif kind == b"set":
        yield from client.smembers(key)
    elif kind == b"zset":
        yield from client.zrange(key, 0, -1)
    elif kind == b"stream":
        yield from (part for _, fields in client.xrange(key) for pair in fields.items() for part in pair)
    else:
        assert kind == b"none", f"{key!r} is a {kind!r}: read that too"  # it expired meanwhile


def files_with(folder: Path, *names: bytes) -> dict[str, list[str]]:
    """Return, by name, the files below a folder that hold it: in their path, their bytes, or what is packed in them."""
    found: dict[str, list[str]] = {name.decode(): [] for name in names}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            held = str(path.relative_to(folder)).encode() + b"\n" + _unpacked(path)
            for name in names:
                if name in held:
                    found[name.decode()].append(str(path.relative_to(folder)))
    return found


def _unpacked(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.name.endswith(".zst"):
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw), read_across_frames=True).read()
    if path.suffix == ".parquet":
        return raw + repr(pq.read_table(path).to_pydict()).encode()
    return raw
