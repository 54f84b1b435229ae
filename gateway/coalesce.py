"""Turns concurrent calls into batches, with no timer: whatever waits when the previous batch is done goes next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from contracts.errors import NextclickError
from contracts.left_out import OUTAGES

T = TypeVar("T")
R = TypeVar("R")


class Overloaded(NextclickError):
    """The queue in front of a batch is full, or closed: retry."""


class Coalescer(Generic[T, R]):
    """Calls `serve` with everything that waits, one batch at a time.

    A call that comes alone is served at once; the busier it gets, the larger the batches, up to `max_weight`
    (one item may be heavier and then goes alone). At most `max_waiting` weight waits. An outage that `serve` raises
    goes to every caller of that batch; anything else to the caller of the item that causes it, alone: the batch is
    halved until that is known, so `serve` must do no harm when it is called again.
    """

    def __init__(
        self,
        serve: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        max_weight: int,
        max_waiting: int,
        cost: Callable[[T], int] = lambda _: 1,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._serve, self._cost, self._observe = serve, cost, observe
        self._max_weight, self._max_waiting = max_weight, max_waiting
        self._queue: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._weight = 0
        self._runner: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """The weight of what waits, without the batch in flight."""
        return self._weight

    def submit(self, item: T) -> asyncio.Future[R]:
        """Queue one item; the future resolves with its result. Raises Overloaded when too much waits."""
        weight = self._cost(item)
        if self._closed:
            raise Overloaded("this process is shutting down: retry, another one will answer")
        if self._queue and self._weight + weight > self._max_waiting:
            raise Overloaded(f"expected at most {self._max_waiting} waiting, got {self._weight + weight}: retry")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        self._weight += weight
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), context=Context())  # a batch is nobody's request
        return future

    async def close(self) -> None:
        """Take nothing more, and return when all that was taken has been served."""
        self._closed = True
        if self._runner is not None:
            await self._runner

    async def _run(self) -> None:
        try:
            while self._queue:
                batch = self._take()
                if batch:
                    await self._serve_batch(batch)
        finally:
            self._runner = None

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        taken = 0
        while self._queue:
            item, future = self._queue[0]
            weight = self._cost(item)
            if batch and taken + weight > self._max_weight:
                break
            self._queue.popleft()
            self._weight -= weight
            if not future.done():  # its caller may have given up
                batch.append((item, future))
                taken += weight
        return batch

    async def _serve_batch(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        self._observe(len(batch))
        try:
            results = await self._serve([item for item, _ in batch])
        except Exception as error:
            middle = len(batch) // 2
            if middle and not isinstance(error, OUTAGES):
                await self._serve_batch(batch[:middle])
                await self._serve_batch(batch[middle:])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
