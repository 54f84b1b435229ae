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
from state.slots import Address, redirect_of, split
from state.wait import Wait

_PAUSE_S: Final = 0.02
"""Before a node that asked for patience is asked again."""


class ClusterLine(RedisLine):
    """As RedisLine. `made` counts connections but those that were the first to a node which had its slots all along."""

    def __init__(self, settings: RedisSettings, *, within_s: float | None = None, raw: bool = False) -> None:
        super().__init__(settings, within_s=within_s, raw=raw)
        self._table = cluster_map(settings)
        self._lines: dict[Address, RedisLine] = {}
        self._moved, self._at_version = 0, 0
        self._reader = hiredis.Reader()

    @property
    def made(self) -> int:
        counts = [line.made for line in self._lines.values()]
        return self._moved + sum(max(0, made - 1) for made in counts) + any(counts)

    async def call(self, commands: bytes, count: int, *, again: bool = True) -> Answers:
        told = self._commands_in(commands)
        found = await self._quickly(told, commands, again=again)
        return found[0] if found is not None else (await self._slowly(told, again=again)).answers()

    async def write(
        self, commands: Sequence[Sequence[Any]], *, waits: bool = True
    ) -> tuple[Answers, Sequence[Address]]:
        wait = self._wait if waits else None
        if wait is None and (found := await self._quickly(commands, None, again=False)) is not None:
            return found
        made = await self._slowly(commands, again=False, wait=wait)
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

    def _commands_in(self, packed: bytes) -> list[Sequence[bytes]]:
        reader, found = self._reader, list[Sequence[bytes]]()
        reader.feed(packed)
        while (command := reader.gets()) is not False:
            found.append(command)
        return found

    def _line(self, node: Address) -> RedisLine:
        if node not in self._lines:
            version = self._table.version
            if self._lines and version != self._at_version:
                self._moved += 1
            self._at_version = version
            self._lines[node] = RedisLine(self._settings, within_s=self._within_s, node=node, raw=self._raw)
        return self._lines[node]

    async def _quickly(
        self, commands: Sequence[Sequence[Any]], sent: bytes | None, *, again: bool
    ) -> tuple[Answers, Sequence[Address]] | None:
        """Return the answers, and who gave them, where every node is known, reached, and has what it is asked for; else
        None, with nothing done but what does no harm `again`. `sent`: the commands as they are sent, if that is known.
        """
        owners = self._table.owners
        if self._table.is_doubted or not owners or (places := split(commands, owners)) is None:
            return None
        lines = [self._lines.get(node) for node in places]
        if not all(line is not None and line.is_open for line in lines):
            return None
        futures: list[asyncio.Future[Answers]] = []
        for line, mine in zip(lines, places.values(), strict=True):
            if sent is None or len(places) > 1:
                part = b"".join([hiredis.pack_command(tuple(commands[at])) for at in mine])
            else:
                part = sent
            future = line.send_now(part, len(mine))  # type: ignore[union-attr]
            assert future is not None
            futures.append(future)
        heard: dict[Address, Answers] = {}
        try:
            for node, future in zip(places, futures, strict=True):
                heard[node] = await future
        except BaseException as error:
            self._table.doubt()
            for future in futures:
                future.cancel()
            if again and isinstance(error, ConnectionError):
                return None
            raise
        answers: Answers = [None] * len(commands)
        turned = False
        for node, mine in places.items():
            for at, answer in zip(mine, heard[node], strict=True):
                answers[at] = answer
                turned = turned or (isinstance(answer, Exception) and redirect_of(answer) is not None)
        if not turned:
            return answers, tuple(places)
        made = Round(commands, owner=self._table.owner, primaries=self._table.primaries)
        made.replay(owners, heard)
        await self._carried_out(made, again=again)
        return made.answers(), tuple({*places, *made.wrote})

    async def _slowly(self, commands: Sequence[Sequence[Any]], *, again: bool, wait: Wait | None = None) -> Round:
        if not self._table.version:
            await self._read_table(must=True)
        elif self._table.is_due():
            await self._read_table()
        owner, primaries = self._table.owner, self._table.primaries
        return await self._carried_out(Round(commands, owner=owner, primaries=primaries, wait=wait), again=again)

    async def _carried_out(self, made: Round, *, again: bool) -> Round:
        until, tried = monotonic() + self._within_s, False
        await self._noted(made)
        while batches := made.batches():
            if (error := await self._talk(made.heard, batches)) is not None:
                self._table.doubt()
                if tried or not (again or isinstance(error, _NotSent)):
                    raise error.__cause__ if isinstance(error, _NotSent) and error.__cause__ else error
                tried = True  # another node may have taken its place
                await self._read_table()
                continue
            if made.paused and monotonic() >= until:
                made.give_up()
                break
            await self._noted(made)
        return made

    async def _noted(self, made: Round) -> None:
        """Take note of what a round met: slots that moved, nodes that ask for patience."""
        for slot, to in made.moved:
            self._table.moved(slot, to)
        if made.paused:
            self._table.doubt()
            await asyncio.sleep(_PAUSE_S)
        if self._table.is_due():
            await self._read_table()

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
