"""Change tables as an event loop reads and follows them: what `state.tables.TableReader` is for a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from contracts.keys import Keys
from contracts.redis_answers import is_other_kind, whole
from contracts.settings import RedisSettings
from state.change_arrays import ChangeArrays, read_arrays
from state.client import redis_errors_translated
from state.holders import SlotHolder, expect_one_holder, slot_holder
from state.raw_answers import Bytes, plain
from state.redis_line import RedisLine, open_line, packed
from state.relayed_line import RelayedLine
from state.table_changes import (
    Change,
    ChangesTrimmed,
    before,
    entries_of,
    expect_not_rolled_back,
    expect_same_connections,
    parse_changes,
)
from state.table_layout import Layout
from state.tables import SCAN, end_of, table_keys, waiting_ms

_NUMBERS: Final = (b"GET", b"HMGET", b"XREVRANGE")
"""Commands that ask for numbers of a table: see `whole`. Rows and changes that are another kind of thing are waited
for."""


class AsyncTableReader:
    """Reads and follows one table, from an event loop."""

    def __init__(self, settings: RedisSettings, table: str, relay: str = "") -> None:
        """`relay`: the path of a socket where a relay may bring the changes (`state.relay`)."""
        self._settings = settings
        names = (key.encode() for key in table_keys(settings, table))
        self._layout = Layout(settings, table)
        self._of_cluster, self._log_end = settings.is_cluster, Keys(settings.prefix).log_end
        self._rows, self._changes, self._end, self._progress, *_, self._bytes = names
        self._relayed = RelayedLine(settings, relay, table, self._changes) if relay else None
        self._asking, self._following = open_line(settings), self._relayed or open_line(settings, raw=True)
        """Two connections: what is asked does not wait behind a read of changes that waits for some."""
        self._begun = 0

    async def begin(self) -> int:
        """As `end`, from which `changes` are then read on: they are refused once a connection was lost. Raises
        ShardsDiffer.
        """
        self._begun = 0
        if self._relayed is not None:
            await self._relayed.leave()
        if self._layout.questions:
            self._layout.expect(await self._ask(self._asking, *self._layout.questions))
        await self._ask(self._following, (b"GET", self._end))
        end = await self.end()
        self._begun = self._made
        return end

    @property
    def by_relay(self) -> bool | None:
        """Whether changes come by the relay now; None where none was named."""
        return self._relayed.on_relay if self._relayed is not None else None

    @property
    def _made(self) -> int:
        return self._asking.made + self._following.made

    async def end(self) -> int:
        """Return the number that the next change gets."""
        newest = (b"XREVRANGE", self._changes, b"+", b"-", b"COUNT", b"1")
        end, last = await self._ask(self._asking, (b"GET", self._end), newest)
        return end_of(end, lambda: last)

    async def extent(self) -> tuple[int, int]:
        """As `TableReader.extent`."""
        rows, size = await self._ask(self._asking, (b"HLEN", self._rows), (b"GET", self._bytes))
        return int(rows), whole(size) or 0

    async def rows(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """As `TableReader.rows`."""
        before = await self._holder()
        cursor = None
        while cursor != b"0":
            scan = (b"HSCAN", self._rows, cursor or b"0", b"COUNT", b"%d" % SCAN)
            cursor, found = (await self._ask(self._asking, scan))[0]
            yield list(zip(found[::2], found[1::2], strict=True))
        expect_one_holder(before, await self._holder())

    async def _holder(self) -> SlotHolder | None:
        if not self._of_cluster:
            return None
        return await asyncio.to_thread(slot_holder, self._settings, self._rows.decode())

    async def changes(self, since: int, block_ms: int | None = None, count: int = SCAN) -> list[Change]:
        """Return changes from number `since` on, at most `count`; wait up to `block_ms` when there is none.

        Raises ChangesTrimmed when `since` is no longer kept.
        """
        changes, is_all = await self._read(since, block_ms, count)
        while not is_all:
            more, is_all = await self._read(changes[-1].number + 1, None, count - len(changes))
            changes += more
        return changes

    async def arrays(self, since: int, block_ms: int | None = None, count: int = SCAN) -> ChangeArrays | list[Change]:
        """As `changes`, without an object for any of them where they are as a writer leaves them. There may be more."""
        found = await self._found(since, block_ms, count)
        read = read_arrays(found, since, entries_of(count)) if found is not None else None
        return read if read is not None else parse_changes(_plain(found), since, count)[0]

    async def raw(self, since: int, block_ms: int | None = None) -> tuple[Bytes, int] | None:
        """Return what Redis answers about changes from `since` on, as its bytes, and the number behind the last one.
        Returns None where there is none. Raises ChangesTrimmed.
        """
        found = await self._found(since, block_ms, SCAN)
        if found is None:
            return None
        arrays = read_arrays(found, since, entries_of(SCAN))
        if arrays is not None:
            return found, since + len(arrays)
        changes = parse_changes(_plain(found), since, SCAN)[0]
        if not changes:
            raise ChangesTrimmed(f"expected an entry of the stream from change {since} on, got one of an older change")
        return found, changes[-1].number + 1

    async def _read(self, since: int, block_ms: int | None, count: int) -> tuple[list[Change], bool]:
        return parse_changes(_plain(await self._found(since, block_ms, count)), since, count)

    async def _found(self, since: int, block_ms: int | None, count: int) -> Bytes | None:
        """Return what Redis answers about changes from `since` on; None where there is none."""
        block = waiting_ms(block_ms, self._settings)
        wait = () if block is None else (b"BLOCK", b"%d" % block)
        limits = (b"COUNT", b"%d" % entries_of(count), *wait)
        read = (b"XREAD", *limits, b"STREAMS", self._changes, before(since).encode())
        found, end = await self._ask(self._following, read, (b"GET", self._end))
        expect_same_connections(self._begun, self._made)
        if found is None:
            number = whole(end)
            expect_not_rolled_back(since, await self.end() if number is None else number)
        return found  # type: ignore[no-any-return]

    async def applied(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """Return, per log partition, the next offset that this table takes in. In a cluster a log can lose its last
        records alone: 0 of one that ends before that, as what it holds now is still to come.
        """
        fields = [f"{topic}:{partition}".encode() for partition in partitions]
        ends = [(b"GET", self._log_end(topic, partition).encode()) for partition in partitions if self._of_cluster]
        found, *told = await self._ask(self._asking, (b"HMGET", self._progress, *fields), *ends)
        stored = [whole(n) or 0 for n in found or [None] * len(fields)]
        for at, answer in enumerate(told):
            end = whole(answer)  # Kafka's are not here
            if end is not None and end < stored[at]:
                stored[at] = 0
        return dict(zip(partitions, stored, strict=True))

    async def close(self) -> None:
        await self._asking.close()
        await self._following.close()

    async def _ask(self, line: RedisLine | RelayedLine, *commands: Sequence[bytes]) -> list[Any]:
        """Return the answers, one a command, in one round trip. Raises StateUnavailable for the first that is none: but
        a number whose key holds another kind of thing is None."""
        with redis_errors_translated(self._settings):
            answers = await line.call(packed(*commands), len(commands))
            for at, answer in enumerate(answers):
                if isinstance(answer, Exception):
                    if not (is_other_kind(answer) and commands[at][0] in _NUMBERS):
                        raise answer
                    answers[at] = None
        return answers


def _plain(found: Bytes | None) -> Any:
    return plain(found) if found is not None else None
