"""A change table followed into this process's memory: load, then follow, in slices that never hold the loop long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic, perf_counter

from contracts.errors import StateUnavailable
from contracts.left_out import LeftOutLog, reason_of
from contracts.outage import Outage, Told
from eventlog.contract import Position
from retrieval.intake import take_rows
from retrieval.live import REMEMBERED, Start, fingerprint, fingerprint_from
from state.async_tables import AsyncTableReader
from state.change_arrays import ChangeArrays
from state.table_changes import Change, ChangesTrimmed

log = logging.getLogger("nextclick.gateway")

SLICE_S = 0.003
"""How long one slice may hold the event loop; the number of rows in it follows from what the last one took."""
FIRST_SLICE, MAX_SLICE = 32, 2048
RETRY_S = 0.25
_SOON_S = 2.0
"""A table whose changes are not to be had twice within this time is loaded again after a pause."""
BLOCK_MS = 1000
FILLING_S = 60.0
"""So long after a table was emptied it counts as filled by what it holds, however much still comes."""
POLL_S = (0.001, 0.05)
"""How often to ask whether log records have been applied: first pause, longest pause."""

Rows = Sequence[tuple[int, bytes | None]]
"""(ItemKey, encoded row; None when deleted)."""
Arrays = Callable[[ChangeArrays], None]
"""Writes changes that came as arrays, as `apply` writes the same ones as rows; or raises, with nothing written."""
Refused = Callable[[int, bytes, str], None]
"""Told the ItemKey, the encoded row, and why it could not be taken."""


class Replica:
    """Follows one table. `apply` writes rows into the arrays that requests read; `keys` lists what they hold.

    When Redis goes away, requests keep what is in memory and `following` is false. When it is back the rows are
    loaded again: a Redis that lost its last second may have given their numbers to other changes.

    A row that cannot be taken is left out alone, whatever it raises: counted in `skipped`, logged, and `refused` is
    told. Any other error ends `run`, and with it `following`; `gateway.background` starts it again.

    Rows are applied while `turn` is held: by nobody else who reads or changes the arrays outside the event loop.

    `start` says what the arrays hold already, from a snapshot: if the table still has that past, only what came after
    is read.

    With `arrays`, changes are read without an object for any of them, and go there; those of which it refuses one, and
    those that are not as a writer leaves them, go to `apply`.
    """

    def __init__(
        self,
        name: str,
        reader: AsyncTableReader,
        apply: Callable[[Rows], None],
        keys: Callable[[], Iterable[int]],
        start: Start | None = None,
        refused: Refused = lambda key, row, why: None,
        turn: asyncio.Lock | None = None,
        outage: Told | None = None,
        arrays: Arrays | None = None,
    ) -> None:
        self._turn = turn or asyncio.Lock()
        self.name, self.reader = name, reader
        self._apply, self._keys, self._start, self._refused, self._arrays = apply, keys, start, refused, arrays
        self._said = LeftOutLog(log)
        self._trimmed_s = float("-inf")
        self._trimmed = Outage(log, f"table {name} is loaded again: ", settle_s=_SOON_S)
        self._outage = outage or Outage(log, f"table {name} is not followed now: ")
        self._slice = FIRST_SLICE
        self._moved = asyncio.Event()
        self.number = 0
        self.loaded = False
        self.following = False
        self.loads = 0
        self.emptied_at: float | None = None
        self.skipped = 0
        self._heard_at: float | None = None

    @property
    def shards(self) -> tuple[Replica, ...]:
        """What each shard of the table is followed by: it has one."""
        return (self,)

    @property
    def by_relay(self) -> bool | None:
        """Whether changes come by the machine's relay now; None where it is not asked for them."""
        return self.reader.by_relay

    @property
    def age_s(self) -> float:
        """Seconds since the table was last heard of; infinite before the first time."""
        return float("inf") if self._heard_at is None else monotonic() - self._heard_at

    @property
    def emptied(self) -> bool:
        """True from when the table was found without a row, where it had some, until it has been filled again: until
        nothing comes for a second, or for a minute.
        """
        return self.emptied_at is not None

    async def run(self) -> None:
        """Load and follow until cancelled. Raises what nobody expected; the table is not followed then."""
        try:
            while True:
                await self._load_and_follow()
        finally:
            self._set_following(False)

    async def _load_and_follow(self) -> None:
        try:
            await self._load()
            await self._follow()
        except ChangesTrimmed as error:
            self._trimmed.failed(error)
            self._set_following(False)
            if monotonic() - self._trimmed_s < _SOON_S:  # loading did not help: the table is odd, and may stay so
                await asyncio.sleep(RETRY_S)
            self._trimmed_s = monotonic()
        except StateUnavailable as error:
            self._outage.failed(error)
            self._set_following(False)
            await asyncio.sleep(RETRY_S)

    def beside(self, apply: Callable[[Rows], None], keys: Callable[[], Iterable[int]]) -> Replica:
        """Return another replica of the same table, in other arrays. It is not run: see `resume` and `advance`."""
        return Replica(self.name, self.reader, apply, keys)

    def has(self, ends: Sequence[int]) -> bool:
        """Tell whether every change below the end of each shard is in memory."""
        return self.number >= ends[0] and self._is_sure

    def lacks(self, other: Replica) -> bool:
        """Tell whether another replica of the same table is further."""
        return self.number < other.number

    async def behind(self) -> int:
        """Return how many changes are not in memory. Raises StateUnavailable."""
        return max(0, await self.reader.end() - self.number)

    async def extent(self) -> tuple[int, int]:
        """Return how many rows the table has, and their bytes. Raises StateUnavailable."""
        return await self.reader.extent()

    async def close(self) -> None:
        await self.reader.close()

    async def catch_up_now(self) -> bool:
        """As `catch_up`, with all that Redis has now. Raises StateUnavailable."""
        return await self.catch_up(await self.reader.end())

    async def catch_up(self, end: int) -> bool:
        """Return True once every change below `end` is in memory; False at once while the table is not followed."""
        while self.number < end:
            if not self.following:
                return False
            await self._moved.wait()
        return self._is_sure

    @property
    def _is_sure(self) -> bool:
        """Whether the changes in memory are those of the table: of one that was lost from sight some may be others now,
        with the same numbers.
        """
        return self.following or not self.loads

    async def shows(self, topic: str, positions: Iterable[Position], within_s: float) -> bool:
        """Wait until the table and this replica have taken in log records; False when the time is over.

        Looks at the clock itself: on Python 3.11 a cancellation that meets an arriving answer is lost inside the Redis
        client (`asyncio.wait_for`), and a loop would go on for ever.
        """
        wanted = _ends(positions)
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        pause, longest = POLL_S
        try:
            async with asyncio.timeout_at(until):
                while not _reached(await self.reader.applied(topic, list(wanted)), wanted):
                    if loop.time() >= until:
                        return False
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, longest)
                return await self.catch_up_now()
        except (TimeoutError, StateUnavailable):
            return False

    async def resume(self, start: Start) -> bool:
        """Go on from `start` and catch up; False, with nothing taken, when the table no longer has that past."""
        if start.shards or await self.reader.end() < start.number:
            return False
        first = fingerprint_from(start.number)
        try:
            before = await self.reader.changes(first, count=REMEMBERED) if first < start.number else []
            if fingerprint(change for change in before if change.number < start.number) != start.fingerprint:
                return False
            self.number = start.number
            await self.advance()
        except ChangesTrimmed:
            return False
        return True

    async def advance(self) -> None:
        """Take the changes up to now. Raises ChangesTrimmed, StateUnavailable."""
        while changes := await self.reader.changes(self.number):
            await self._take(changes)

    def take_over(self, beside: Replica) -> None:
        """Say that the arrays hold what another replica of the table has taken in: they were exchanged."""
        self.number = max(self.number, beside.number)
        self._wake()

    async def _load(self) -> None:
        self._set_following(False)
        end = await self.reader.begin()
        start, self._start = self._start, None
        if start is not None and await self.resume(start):
            self._mark_loaded()
            return
        found: set[int] = set()
        async for rows in self.reader.rows():
            keyed = [(int.from_bytes(key, "little"), row) for key, row in rows]
            found.update(key for key, _ in keyed)
            await self._apply_sliced(keyed)
        gone: Rows = [(key, None) for key in self._keys() if key not in found]
        if gone and not found and self.loads:
            self.emptied_at = monotonic()
            log.error("table %s is empty now, and held %d rows: Redis was emptied, or restored", self.name, len(gone))
        await self._apply_sliced(gone)
        self.number = end
        self._mark_loaded()

    def _mark_loaded(self) -> None:
        self._outage.over()
        self.loaded, self.loads = True, self.loads + 1
        self._heard_at = monotonic()
        self._set_following(True)

    async def _follow(self) -> None:
        while True:
            changes = await self._changes()
            self._trimmed.over()
            self._heard_at = monotonic()
            await self._take(changes)
            if self.emptied_at is not None and (not changes or monotonic() - self.emptied_at > FILLING_S):
                self._look_whether_filled()

    def _look_whether_filled(self) -> None:
        if self.emptied_at is not None and any(True for _ in self._keys()):
            log.warning("table %s is filled again, %.1f s after it was empty", self.name, monotonic() - self.emptied_at)
            self.emptied_at = None

    async def _changes(self) -> Sequence[Change] | ChangeArrays:
        read = self.reader.changes if self._arrays is None else self.reader.arrays
        return await read(self.number, BLOCK_MS)

    async def _take(self, changes: Sequence[Change] | ChangeArrays) -> None:
        """Take changes, whose numbers follow each other."""
        if not len(changes):
            return
        rows: Rows | ChangeArrays
        if isinstance(changes, ChangeArrays):
            first, rows = changes.number, changes
        else:
            first, rows = changes[0].number, [(int.from_bytes(key, "little"), row) for _, key, row in changes]
        start = 0
        while start < len(rows):
            if first + start < self.number:  # taken over meanwhile
                start += 1
                continue
            async with self._turn:
                start = self._apply_slice(rows, start)
            self.number = first + start
            self._wake()
            if start < len(rows):  # else the next read lets others have their turn
                await asyncio.sleep(0)

    async def _apply_sliced(self, rows: Rows) -> None:
        start = 0
        while start < len(rows):
            async with self._turn:
                start = self._apply_slice(rows, start)
            await asyncio.sleep(0)

    def _apply_slice(self, rows: Rows | ChangeArrays, start: int) -> int:
        end = min(start + self._slice, len(rows))
        began = perf_counter()
        self._apply_rows(rows[start:end])
        took = perf_counter() - began
        if took > SLICE_S:
            self._slice = max(1, self._slice // 2)
        elif took < SLICE_S / 3 and end - start == self._slice:
            self._slice = min(2 * self._slice, MAX_SLICE)
        return end

    def _apply_rows(self, rows: Rows | ChangeArrays) -> None:
        """Apply rows; one that cannot be taken (damaged, another codec, a vector of another size) is skipped."""
        if isinstance(rows, ChangeArrays):
            if self._are_taken(rows):
                return
            rows = rows.rows()
        self.skipped += take_rows(rows, self._apply, self._leave_out)

    def _are_taken(self, changes: ChangeArrays) -> bool:
        """Apply changes that came as arrays; False for some that cannot be: why is said of the row that it is."""
        assert self._arrays is not None
        try:
            self._arrays(changes)
        except Exception:
            return False
        return True

    def _leave_out(self, key: int, row: bytes, error: Exception) -> None:
        self._said.say(f"table {self.name}: row {key:016x}", error)
        self._refused(key, row, reason_of(error))

    def _set_following(self, following: bool) -> None:
        self.following = following
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def _ends(positions: Iterable[Position]) -> dict[int, int]:
    ends: dict[int, int] = {}
    for partition, offset in positions:
        ends[partition] = max(ends.get(partition, 0), offset + 1)
    return ends


def _reached(applied: Mapping[int, int], wanted: Mapping[int, int]) -> bool:
    return all(applied[partition] >= end for partition, end in wanted.items())
