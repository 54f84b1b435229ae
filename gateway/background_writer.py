"""Work that no request waits for: impressions and dead letters go to the log behind a bounded queue."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from contracts.errors import NextclickError
from contracts.outage import Outage

log = logging.getLogger("nextclick.gateway")

T = TypeVar("T")

_SETTLE_LOOK_S = 0.02
SETTLE_S = 1.0
"""The log hears that writing works again when nothing has failed for so long."""


@dataclass(slots=True)
class BackgroundCounts:
    """What became of what was offered. Mutable on purpose: it is a row of counters."""

    written: int = 0
    dropped: int = 0
    failed: int = 0


class BackgroundWriter(Generic[T]):
    """Hands what was offered to `write`, in batches, one at a time.

    A batch is written `gather_s` after its first item came, or as soon as it is full: a write costs about the same
    whatever it holds. Promises nothing: what does not fit the queue is dropped and counted, a batch that fails is
    counted and let go. The log hears of the first failure and of the end of the trouble.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[Any]],
        *,
        name: str,
        max_waiting: int,
        max_batch: int = 512,
        gather_s: float = 0.0,
    ) -> None:
        self._write = write
        self._max_waiting, self._max_batch = max_waiting, max_batch
        self._queue: deque[T] = deque()
        self._gather_s = gather_s
        self._timer: asyncio.TimerHandle | None = None
        self._runner: asyncio.Task[None] | None = None
        self._name, self._taken = name, 0
        self._outage = Outage(log, f"{name} are not written: ", settle_s=SETTLE_S)
        self.counts = BackgroundCounts()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def offer(self, item: T) -> bool:
        """Queue one item and return at once; False when there was no room."""
        if len(self._queue) >= self._max_waiting:
            self.counts.dropped += 1
            return False
        self._queue.append(item)
        self._taken += 1
        if self._runner is None:
            self._plan()
        return True

    async def write(self, item: T) -> None:
        """Write one item now, beside the queue, and return once it is kept; `settled` waits for it, too. Raises what
        `write` raises.
        """
        self._taken += 1
        try:
            await self._write([item])
        except BaseException:
            self.counts.failed += 1
            raise
        self.counts.written += 1

    async def settled(self, timeout_s: float) -> bool:
        """Return once all that waits now was written, or failed; False where that takes longer than `timeout_s`."""
        taken, until = self._taken, asyncio.get_running_loop().time() + timeout_s
        while self.counts.written + self.counts.failed < taken:
            if asyncio.get_running_loop().time() > until:
                return False
            await asyncio.sleep(_SETTLE_LOOK_S)
        return True

    async def close(self, timeout_s: float) -> None:
        """Write what waits, for at most `timeout_s`; drop and count the rest."""
        self._gather_s = 0.0
        if self._queue and self._runner is None:
            self._start()
        if self._runner is not None:
            await asyncio.wait([self._runner], timeout=timeout_s)
        self.counts.dropped += len(self._queue)
        self._queue.clear()
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner], timeout=timeout_s)

    def _plan(self) -> None:
        """See that what waits is written: now, or when more has gathered."""
        if self._gather_s == 0.0 or len(self._queue) >= self._max_batch:
            self._start()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._gather_s, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())

    async def _run(self) -> None:
        due = True
        try:
            while self._queue and (due or self._gather_s == 0.0 or len(self._queue) >= self._max_batch):
                due = False
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]
                try:
                    await self._write(batch)
                    self.counts.written += len(batch)
                    self._outage.over()
                except NextclickError as error:
                    self.counts.failed += len(batch)
                    self._outage.failed(error)
                except Exception:
                    self.counts.failed += len(batch)
                    log.exception("%d %s were not written", len(batch), self._name)
        finally:
            self._runner = None
        if self._queue:
            self._plan()
