"""Several streams of a Redis Cluster, followed by one thread: XREAD takes streams of one slot alone.

While all of them have something, they are read in one round trip to each node. Else each stream is waited for on a
connection of its own, and the first that has something ends the wait. The others stay asked: their answers are taken
the next time, as nothing was read of them meanwhile.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis

from state.slots import Address, slot_of

BLOCK_S: Final = 5.0
"""How long Redis waits before it says that there is nothing."""

Streams = list[tuple[bytes, Any]]
"""Streams that have something, with their entries as Redis sends them."""


@dataclass(slots=True)
class _Asked:
    node: Address
    connection: Any
    position: int
    until: float


class FollowedStreams:
    """For one thread. Raises redis.RedisError and OSError; nothing was read then."""

    def __init__(self, client: Any, ask: Callable[[Sequence[Any]], list[Any]], limit_s: float) -> None:
        """`client` is a ClusterClient, `ask` sends commands through it; `limit_s`: a node that is silent longer is
        lost.
        """
        self._client, self._ask, self._limit_s = client, ask, limit_s
        self._asked: dict[bytes, _Asked] = {}
        self._turned = False
        """Whether a node refused: a round trip finds out where its slot is."""

    def read(self, positions: Mapping[bytes, int], count: int, block_s: float) -> Streams:
        """Return what stands from the next offset of each stream on, at most `count` entries of each; wait for some."""
        try:
            for stream, asked in list(self._asked.items()):
                if asked.position != positions.get(stream):
                    self._drop(stream)  # it is to be read from elsewhere
            rest = [stream for stream in positions if stream not in self._asked]
            if block_s <= 0 or self._turned or not self._asked:
                self._turned = False
                commands = [("XREAD", "COUNT", count, "STREAMS", one, f"{positions[one]}-0") for one in rest]
                answers = zip(rest, self._ask(commands) if rest else (), strict=True)
                found = [(one, entries) for one, answer in answers if (entries := _entries(answer))]
                if found or block_s <= 0:
                    return found + self._heard(0.0)
            for stream in rest:
                self._send(stream, positions[stream], count)
            return self._heard(block_s)
        except BaseException:
            for stream in list(self._asked):
                self._drop(stream, lost=True)
            raise

    def close(self) -> None:
        for stream in list(self._asked):
            self._drop(stream)

    def _send(self, stream: bytes, position: int, count: int) -> None:
        node = self._client.table.owner(slot_of(stream))
        connection = self._client.take(node)
        self._asked[stream] = _Asked(node, connection, position, time.monotonic() + BLOCK_S + self._limit_s)
        block = int(BLOCK_S * 1000)
        connection.send_command("XREAD", "COUNT", count, "BLOCK", block, "STREAMS", stream, f"{position}-0")

    def _heard(self, within_s: float) -> Streams:
        """Return what came for streams that were asked; an error is left to whoever asks next."""
        sockets = {asked.connection._sock: stream for stream, asked in self._asked.items()}
        if not sockets:
            return []
        waiting = [sockets[one] for one in select.select(list(sockets), [], [], within_s)[0]]
        now = time.monotonic()
        for stream, asked in self._asked.items():
            if asked.until < now and stream not in waiting:
                raise redis.TimeoutError(f"{asked.node[0]}:{asked.node[1]} did not answer in time")
        found: Streams = []
        for stream in waiting:
            asked = self._asked[stream]
            try:
                entries = _entries(asked.connection.read_response())
            except redis.ResponseError:  # the slot went elsewhere, say
                entries, self._turned = None, True
            del self._asked[stream]
            self._client.give(asked.node, asked.connection)
            if entries:
                found.append((stream, entries))
        return found

    def _drop(self, stream: bytes, *, lost: bool = False) -> None:
        """Let a connection go whose answer is nobody's. One that may be `lost` counts as such when it is made anew."""
        asked = self._asked.pop(stream)
        if lost:
            asked.connection.disconnect()
            self._client.give(asked.node, asked.connection)
        else:
            self._client.leave(asked.node, asked.connection)


def _entries(answer: Any) -> Any:
    """Return the entries of the one stream that XREAD was asked for; None where it has none."""
    if isinstance(answer, Exception):
        raise answer
    return answer[0][1] if answer else None
