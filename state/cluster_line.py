"""A line to a Redis Cluster: one connection a node, on which everybody's reads travel.

What goes to several nodes is written to all of them before any answer is waited for, with no task for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import hiredis
import redis

from contracts.settings import RedisSettings
from state.cluster_map import cluster_map
from state.cluster_round import Batch, Round
from state.redis_line import Answers, RedisLine
from state.slots import Address
from state.wait import Wait

_PAUSE_S: Final = 0.02
"""Before a node that asked for patience is asked again."""


class ClusterLine(RedisLine):
    """As RedisLine. `made` counts connections but those that were the first to a node which had its slots all along."""

    def __init__(self, settings: RedisSettings, *, within_s: float | None = None) -> None:
        super().__init__(settings, within_s=within_s)
        self._table = cluster_map(settings)
        self._lines: dict[Address, RedisLine] = {}
        self._moved, self._at_version = 0, 0

    @property
    def made(self) -> int:
        counts = [line.made for line in self._lines.values()]
        return self._moved + sum(max(0, made - 1) for made in counts) + any(counts)

    async def call(self, commands: bytes, count: int, *, again: bool = True) -> Answers:
        made = await self._carried_out(commands, again=again, wait=None)
        return made.answers()

    async def write(self, commands: bytes, count: int, *, waits: bool = True) -> tuple[Answers, Sequence[Address]]:
        made = await self._carried_out(commands, again=False, wait=self._wait if waits else None)
        if made.not_copied is not None:
            raise made.not_copied
        return made.answers(), tuple(made.wrote)

    async def ask(self, asked: Mapping[Address, tuple[bytes, int]]) -> dict[Address, Answers]:
        heard: dict[Address, Answers] = {}
        batches = {node: Batch(*commands) for node, commands in asked.items()}
        if (error := await self._talk(heard.__setitem__, batches)) is not None:
            raise error.__cause__ if isinstance(error, _NotSent) and error.__cause__ else error
        return heard

    async def close(self) -> None:
        for line in self._lines.values():
            await line.close()

    def _line(self, node: Address) -> RedisLine:
        if node not in self._lines:
            version = self._table.version
            if self._lines and version != self._at_version:
                self._moved += 1
            self._at_version = version
            self._lines[node] = RedisLine(self._settings, within_s=self._within_s, node=node)
        return self._lines[node]

    async def _carried_out(self, commands: bytes, *, again: bool, wait: Wait | None) -> Round:
        if not self._table.version:
            await self._read_table(must=True)
        elif self._table.is_due():
            await self._read_table()
        owner, primaries = self._table.owner, self._table.primaries
        made = Round(_commands_in(commands), owner=owner, primaries=primaries, wait=wait)
        until, tried = monotonic() + self._within_s, False
        while batches := made.batches():
            if (error := await self._talk(made.heard, batches)) is not None:
                self._table.doubt()
                if tried or not (again or isinstance(error, _NotSent)):
                    raise error.__cause__ if isinstance(error, _NotSent) and error.__cause__ else error
                tried = True  # another node may have taken its place
                await self._read_table()
                continue
            for slot, to in made.moved:
                self._table.moved(slot, to)
            if made.paused:
                if monotonic() >= until:
                    made.give_up()
                    break
                self._table.doubt()
                await asyncio.sleep(_PAUSE_S)
            if self._table.is_due():
                await self._read_table()
        return made

    async def _read_table(self, *, must: bool = False) -> None:
        async with asyncio.timeout(self._within_s):
            try:
                await asyncio.to_thread(self._table.read)
            except redis.ConnectionError:
                if must:
                    raise

    async def _talk(
        self, heard: Callable[[Address, Answers], None], batches: Mapping[Address, Batch]
    ) -> Exception | None:
        """Send and hear; returns the connection's error that is worth another try. Raises what is not."""
        sent: list[tuple[Address, Awaitable[Answers]]] = []
        for node, batch in batches.items():
            line = self._line(node)
            sent.append((node, line.send_now(batch.sent, batch.expects) or self._opened(line, batch)))
        failed: BaseException | None = None
        for node, answers in sent:
            try:
                heard(node, await answers)
            except BaseException as error:  # whoever was sent something is heard all the same
                if isinstance(error, asyncio.CancelledError):
                    for _, other in sent:
                        _let_go(other)
                    raise
                failed = failed or error
        if failed is None:
            return None
        self._table.doubt()
        if isinstance(failed, (ConnectionError, _NotSent)):
            return failed
        raise failed

    async def _opened(self, line: RedisLine, batch: Batch) -> Answers:
        try:
            async with asyncio.timeout(self._within_s):
                connection = await line._connected()
        except (OSError, redis.ConnectionError) as error:
            raise _NotSent from error
        return await connection.send(batch.sent, batch.expects, self._within_s)


class _NotSent(Exception):
    """A node could not be reached, so it was sent nothing."""


def _let_go(answers: Awaitable[Any]) -> None:
    """Nobody waits for these answers any more: asyncio need not say so."""
    if isinstance(answers, asyncio.Future):
        answers.cancel()
    else:
        with suppress(RuntimeError):
            answers.close()  # type: ignore[attr-defined]


def _commands_in(packed: bytes) -> list[Sequence[bytes]]:
    reader = hiredis.Reader()
    reader.feed(packed)
    found: list[Sequence[bytes]] = []
    while (command := reader.gets()) is not False:
        found.append(command)
    return found
