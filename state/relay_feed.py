"""One change table, followed for all who ask a relay: read from Redis once, and kept for a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

from contracts.errors import StateUnavailable
from contracts.keys import Keys
from contracts.outage import Told
from contracts.settings import RedisSettings
from state.async_tables import AsyncTableReader
from state.relay_frames import Frame, KeptFrames
from state.relay_memory import Segments
from state.table_changes import ChangesTrimmed
from state.tables import KEPT_BYTES, KEPT_CHANGES

log = logging.getLogger("nextclick.relay")

BLOCK_MS: Final = 500
RETRY_S: Final = 0.5
GATHER_S: Final = 0.005
"""Between two readings, so that changes come together: each reading wakes every gateway process."""


class Feed:
    """Follows one table. What it keeps is of one connection to Redis: when that is lost, it begins anew, and `lost`
    tells those who read from it.
    """

    def __init__(
        self,
        settings: RedisSettings,
        table: str,
        memory: Path,
        outage: Told,
        *,
        most_changes: int = KEPT_CHANGES,
        most_bytes: int = KEPT_BYTES,
    ) -> None:
        keys = Keys(settings.prefix)
        self.table = table
        self.stream, self.counter = keys.table_changes(table).encode(), keys.table_end(table).encode()
        self.kept: KeptFrames | None = None
        """None while Redis is not followed."""
        self.moved: set[Callable[[], None]] = set()
        """Called when changes came."""
        self.lost: set[Callable[[], None]] = set()
        """Called when what was read may be of a past that Redis no longer has."""
        self.begun, self.taken, self.heard_at = 0, 0, float("-inf")
        self._reader = AsyncTableReader(settings, table)
        self._segments = Segments(memory.with_name(f"{memory.name}.{table}"))
        self._outage, self._most = outage, (most_changes, most_bytes)

    def told(self, number: int) -> bytes:
        """Return where a change stands in memory; nothing where it is still to come. Raises ChangesTrimmed where it is
        not kept.
        """
        if self.kept is None:
            raise ChangesTrimmed("Redis is not followed now")
        frame = self.kept.since(number)
        return b"" if frame is None else self._segments.told(frame.place)

    async def run(self) -> None:
        """Follow for ever; a Redis that is away, or a full disk, is waited out."""
        try:
            while True:
                try:
                    await self._follow()
                except (StateUnavailable, ChangesTrimmed, OSError) as error:
                    self._outage.failed(error)
                    self._lose()
                    await asyncio.sleep(RETRY_S)
        finally:
            self._lose()
            self._segments.close()
            with suppress(OSError):
                await self._reader.close()

    async def _follow(self) -> None:
        end = await self._reader.begin()
        kept = KeptFrames(end, most_changes=self._most[0], most_bytes=self._most[1])
        self.kept, self.begun, self.heard_at = kept, self.begun + 1, monotonic()
        self._outage.over()
        while True:
            found = await self._reader.raw(kept.end, BLOCK_MS)
            self.heard_at = monotonic()
            if found is not None:
                raw, end = found
                self.taken += end - kept.end
                self._segments.give_up(kept.add(Frame(kept.end, end, self._segments.write(raw))))
                for tell in list(self.moved):
                    tell()
                await asyncio.sleep(GATHER_S)

    def _lose(self) -> None:
        self.kept = None
        for tell in list(self.lost):
            tell()
