"""Background tasks that never end by themselves: one that fails is said, and started again after a pause."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from contracts.left_out import reason_of

log = logging.getLogger("nextclick.gateway")

PAUSE_S = (1.0, 30.0)
"""Before a task that failed is started again: first pause, longest pause."""
_WELL_AFTER_S = 60.0
"""A task that ran for so long begins with the first pause again."""


async def kept_running(
    name: str, run: Callable[[], Awaitable[None]], restarts: Counter[str], pause_s: tuple[float, float] = PAUSE_S
) -> None:
    """Await `run()`, again whenever it raises, with growing pauses; return when it does. `restarts` counts by name.

    What it raises is logged with its traceback when it differs from the time before, and in one line otherwise.
    """
    first, longest = pause_s
    pause, said = first, ""
    while True:
        began = monotonic()
        try:
            await run()
            return
        except Exception as error:
            restarts[name] += 1
            if monotonic() - began > _WELL_AFTER_S:
                pause = first
            reason = reason_of(error)
            told = None if reason == said else error
            said = reason
            log.critical("%s ended, and starts again in %.1f s: %s", name, pause, reason, exc_info=told)
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest)


@asynccontextmanager
async def running(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run background tasks until left."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    for task in tasks:
        task.add_done_callback(_say_why)
    try:
        yield
    finally:
        pending = set(tasks)
        while pending:  # a cancellation that meets an arriving answer can get lost in the Redis client: ask again
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.2)


def _say_why(task: asyncio.Task[None]) -> None:
    """One that is not kept running ends with what it raised: say so."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("a background task ended", exc_info=task.exception())
