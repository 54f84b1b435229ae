"""How a shard is reached, and the heads of frames. Of the standard library alone: a probe runs every few seconds."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from contracts.addresses import MOST_SOCKET_PATH
from contracts.errors import SettingsError

MAGIC: Final = b"NCIX"
VERSION: Final = 1
HEADER: Final = struct.Struct("<4sBBHII")
SEARCH: Final = struct.Struct("<QHHHHHHI")
"""The beginning of a search's body: item tower, shard, of, queries, dimensions, k, nothing, bytes of filters."""
MOST_BYTES: Final = 32_000_000
"""Of a body."""
LOADING: Final = "it is still loading its items"
"""Why a shard that has just been started refuses."""


class Kind(IntEnum):
    SEARCH = 1
    ANSWER = 2
    REFUSAL = 3


class BadFrame(ValueError):
    """Bytes that are no frame of ours: the connection is of no use any more."""


class Head(NamedTuple):
    kind: Kind
    id: int
    length: int


def head_of(raw: bytes | bytearray | memoryview) -> Head:
    """Read a header. Raises BadFrame."""
    magic, version, kind, _, id, length = HEADER.unpack(raw)
    if magic != MAGIC or version != VERSION:
        raise BadFrame(f"expected a frame {MAGIC.decode()} of version {VERSION}, got {magic!r} of version {version}")
    if kind not in Kind.__members__.values():
        raise BadFrame(f"expected a frame of a kind from 1 to {max(Kind)}, got {kind}")
    if length > MOST_BYTES:
        raise BadFrame(f"expected at most {MOST_BYTES:,} bytes in a frame, got {length:,}")
    return Head(Kind(kind), id, length)


def framed(kind: Kind, id: int, body: bytes) -> bytes:
    return HEADER.pack(MAGIC, VERSION, kind, 0, id & 0xFFFFFFFF, len(body)) + body


def place_of(address: str) -> str | tuple[str, int]:
    """Return the path of a unix socket, or host and port. Raises SettingsError for what is neither."""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if not 0 < len(path.encode()) <= MOST_SOCKET_PATH:
            raise SettingsError(
                f"expected a path of at most {MOST_SOCKET_PATH} bytes after unix:, got {address!r}: "
                "set index.shard_addresses"
            )
        return path
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(f"expected unix:PATH or HOST:PORT in index.shard_addresses, got {address!r}")
    return host.strip("[]"), int(port)
