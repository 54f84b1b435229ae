"""What one request does at a time, so that it cannot take the process from the others: whoever is second waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gateway.problems import unavailable

PATIENCE_S: Final = 2.0
"""That a request waits for the one before it: a page that is loaded again asks while its first request is answered."""


@asynccontextmanager
async def alone(turns: asyncio.Semaphore, what: str) -> AsyncIterator[None]:
    """Hold the only turn at something, such as "reads figures". Raises Refused (503) after `PATIENCE_S`."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await turns.acquire()
    except TimeoutError as error:
        raise unavailable(f"somebody {what} now, and one request at a time does: ask again") from error
    try:
        yield
    finally:
        turns.release()
