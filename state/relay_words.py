"""What a relay of changes and who reads from it say to each other, in Redis's protocol.

A connection is of one table. It begins with `RELAY`, the version, where Redis is, and the stream's key; what differs is
refused, so nobody reads from a relay of another release or Redis. Then come the two commands by which tables are
followed: `XREAD COUNT n [BLOCK ms] STREAMS key id`, and `GET` of the number of the next change.

Where Redis would answer an XREAD with changes, a relay answers with the place of an answer of Redis in memory that both
have mapped (`state.relay_memory`). It may begin before the change that is asked for, and there may be more behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from contracts import keys
from contracts.backends import RedisSettings

RELAYED: Final = (keys.TRENDS, keys.SHOWINGS, keys.ENDED)
"""Tables that every gateway process follows, and no answer waits for: what the trends flow writes."""
VERSION: Final = b"1"


class Asked(NamedTuple):
    """An XREAD: changes from number `since` on. How many, the relay decides."""

    since: int
    block_ms: int | None


def hello(settings: RedisSettings, stream: bytes) -> tuple[bytes, ...]:
    """Return the command that a connection begins with."""
    return (b"RELAY", VERSION, f"{settings.place} {urlsplit(settings.url).path}".encode(), stream)


def asked_of(command: Sequence[bytes], stream: bytes) -> Asked:
    """Read an XREAD as the followers of tables send it (`state.async_tables`). Raises ValueError for any other."""
    match command:
        case [b"XREAD", b"COUNT", count, b"STREAMS", key, name]:
            block_ms = None
        case [b"XREAD", b"COUNT", count, b"BLOCK", block, b"STREAMS", key, name]:
            block_ms = int(block)
        case _:
            raise ValueError("expected XREAD COUNT n [BLOCK ms] STREAMS key id, or GET")
    if key != stream:
        raise ValueError("expected the stream that the connection began with")
    before, _, turn = name.partition(b"-")
    since = 0 if name == b"0-0" else int(before) + 1
    if turn not in (b"1", b"0") or since < 0 or int(count) < 1:
        raise ValueError(f"expected an id such as 5-1 and a count, got {bytes(name)!r:.40} and {bytes(count)!r:.20}")
    return Asked(since, block_ms)
