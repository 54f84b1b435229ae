"""A connection of a relay: a gateway that follows one table by it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final, cast

import hiredis

from contracts.settings import RedisSettings
from state.relay_feed import Feed
from state.relay_words import Asked, asked_of, hello
from state.table_changes import ChangesTrimmed

MOST_BLOCK_MS: Final = 500
"""How long anybody waits for changes: a gateway takes a relay that is silent for longer for dead."""
NONE: Final = b"*-1\r\n"
"""Redis's answer where nothing came."""
_MOST_WAITING: Final = 64
"""Commands of one connection that are not answered yet."""


class Peer(asyncio.Protocol):
    """Answers commands in their order; one that waits for changes holds up those behind it, as with Redis."""

    def __init__(self, settings: RedisSettings, feeds: Mapping[bytes, Feed], peers: set[Peer]) -> None:
        self._settings, self._feeds, self._peers = settings, feeds, peers
        self._reader = hiredis.Reader()
        self._commands: deque[list[bytes]] = deque()
        self._feed: Feed | None = None
        self._transport: asyncio.Transport | None = None
        self._waiting: tuple[Asked, asyncio.TimerHandle] | None = None
        self._since = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peers.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._peers.discard(self)
        self._stop_waiting()
        if self._feed is not None:
            self._feed.moved.discard(self._look)
            self._feed.lost.discard(self.close)

    def close(self) -> None:
        """End the connection: whoever reads goes on from Redis."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (command := self._reader.gets()) is not False:
                if not isinstance(command, list) or not all(isinstance(part, bytes) for part in command):
                    raise ValueError("expected a command")
                self._commands.append(command)
                if len(self._commands) > _MOST_WAITING:
                    raise ValueError("too many commands wait")
        except (hiredis.ProtocolError, ValueError):
            self.close()
            return
        self._answer()

    def _answer(self) -> None:
        while self._commands and self._waiting is None and self._transport is not None:
            command = self._commands.popleft()
            try:
                self._answer_one(command)
            except ValueError as error:
                self._write(_refusal(error))

    def _answer_one(self, command: list[bytes]) -> None:
        feed = self._feed
        if feed is None:
            self._greet(command)
        elif feed.kept is not None and command == [b"GET", feed.counter]:
            # whoever loaded rows may know more than came here yet
            self._write(_bulk(b"%d" % max(feed.kept.end, self._since)))
        else:
            self._read(feed, asked_of(command, feed.stream))

    def _greet(self, command: list[bytes]) -> None:
        feed = self._feeds.get(command[-1]) if command else None
        if feed is None or tuple(command) != hello(self._settings, feed.stream):
            raise ValueError("this relay is of another release or Redis, or has no such table")
        if feed.kept is None:
            raise ValueError("this relay does not follow Redis now")
        self._feed = feed
        feed.moved.add(self._look)
        feed.lost.add(self.close)
        self._write(b"+OK\r\n")

    def _read(self, feed: Feed, asked: Asked) -> None:
        self._since = asked.since
        if answer := _answer_of(feed, asked):
            self._write(answer)
        elif asked.block_ms is None:
            self._write(NONE)
        else:
            wait_s = min(asked.block_ms, MOST_BLOCK_MS) / 1000
            self._waiting = asked, asyncio.get_running_loop().call_later(wait_s, self._give_up)

    def _look(self) -> None:
        """Answer, where this one waits for changes and they came."""
        if self._waiting is None or self._feed is None:
            return
        if answer := _answer_of(self._feed, self._waiting[0]):
            self._stop_waiting()
            self._write(answer)
            self._answer()

    def _give_up(self) -> None:
        self._waiting = None
        self._write(NONE)
        self._answer()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting[1].cancel()
            self._waiting = None

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


def _answer_of(feed: Feed, asked: Asked) -> bytes:
    """Return where the changes are that are asked for; nothing where they are still to come."""
    try:
        told = feed.told(asked.since)
    except ChangesTrimmed as error:
        return _refusal(error)
    return _bulk(told) if told else b""


def _bulk(said: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(said), said)


def _refusal(error: Exception) -> bytes:
    return b"-ERR %b\r\n" % str(error).encode()
