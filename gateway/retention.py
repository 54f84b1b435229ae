"""What goes for its age, by settings (`retention`): gateway processes look once a minute, in a thread. What is gone
already does no harm, so nobody needs to be told who looks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import timedelta
from itertools import islice, takewhile
from pathlib import Path
from typing import Final

from aiohttp import web

from contracts.codec import decode_ended
from contracts.errors import LogUnavailable, StateUnavailable
from contracts.keys import ENDED
from contracts.outage import Outage
from eventlog.contract import Topic
from eventlog.open_log import open_dead_letters
from eventlog.redis_retention import LogRetention
from gateway.answer_records import drop_old
from gateway.background import kept_running, running
from gateway.keys import CLOCK, SETTINGS
from gateway.metrics import METRICS
from gateway.record_files import drop_older
from gateway.settings import GatewaySettings
from state.audit import AuditLog
from state.tables import TableReader, TableWriter

log = logging.getLogger("nextclick.gateway")

KINDS: Final = ("log", "dead_letters", "audit", "recordings", "ended")
EVERY_S: Final = 60.0
ENDED_EVERY: Final = 60
"""Looks: reading all ended sessions takes a second or two of a core."""
_AT_ONCE: Final = 500


class Retention:
    """Takes away what is too old."""

    def __init__(self, settings: GatewaySettings, clock: Callable[[], int]) -> None:
        self._settings, self._clock = settings, clock
        self._outage = Outage(log, "what is too old is not taken away: ")
        self._looks = 0
        self.gone: Counter[str] = Counter()
        """How much this process took away, by kind."""

    @property
    def is_asked(self) -> bool:
        """Whether any setting asks for it."""
        options = self._settings.retention
        set_ones = (options.log, options.dead_letters, options.audit, options.recordings, options.ended)
        return any(one is not None for one in set_ones) or bool(self._settings.answers.to)

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            try:
                await asyncio.to_thread(self.look)
                self._outage.over()
            except (LogUnavailable, StateUnavailable, OSError) as error:
                self._outage.failed(error)
            await asyncio.sleep(EVERY_S)

    def look(self) -> None:
        """Take away what is too old now. Raises LogUnavailable, StateUnavailable, OSError: the rest waits for the next
        look.
        """
        options = self._settings.retention
        if options.ended is not None and self._looks % ENDED_EVERY == 0:
            self._ended(self._before_ms(options.ended))
        self._looks += 1
        self._files()
        if options.audit is not None:
            with closing(AuditLog(self._settings.redis)) as audit:
                self.gone["audit"] += audit.forget(self._before_ms(options.audit))
        if options.dead_letters is not None:
            self._letters(self._before_ms(options.dead_letters))
        if options.log is not None and self._settings.log.kind == "redis":
            with closing(LogRetention(self._settings.log, self._settings.redis)) as retention:
                for topic in (Topic.CLICKS, Topic.IMPRESSIONS):
                    self.gone["log"] += retention.forget(topic, self._before_ms(options.log))

    def _before_ms(self, keep: timedelta) -> int:
        return self._clock() - int(keep.total_seconds() * 1000)

    def _files(self) -> None:
        answers, record, options = self._settings.answers, self._settings.record, self._settings.retention
        if answers.to:  # a quiet gateway begins no new file, which lets go of old ones
            drop_old(Path(answers.to), self._before_ms(answers.keep), answers.bytes)
        if record.to and options.recordings is not None:
            self.gone["recordings"] += drop_older(Path(record.to), self._before_ms(options.recordings) / 1000)

    def _letters(self, before_ms: int) -> None:
        with closing(open_dead_letters(self._settings.log, self._settings.redis)) as reader:
            for partition in range(self._settings.log.partitions):
                old = takewhile(lambda kept: kept.letter.at_ms < before_ms, reader.kept([partition]))
                while letters := list(islice(old, _AT_ONCE)):
                    reader.remove(letters)
                    self.gone["dead_letters"] += len(letters)

    def _ended(self, before_ms: int) -> None:
        with (
            closing(TableReader(self._settings.redis, ENDED)) as reader,
            closing(TableWriter(self._settings.redis, ENDED)) as writer,
        ):
            for rows in reader.rows():
                old = [key for key, row in rows if _began_before(row, before_ms)]
                for part in _parts(old):
                    writer.commit({}, part)
                    self.gone["ended"] += len(part)


async def retention(app: web.Application) -> AsyncIterator[None]:
    """Have what is too old taken away while the application lives, where settings ask for it."""
    looking = Retention(app[SETTINGS], app[CLOCK])
    if not looking.is_asked:
        yield
        return
    for kind in KINDS:
        about = "What this process took away for its age, by kind."
        app[METRICS].total("retention_removed", about, {"kind": kind}, lambda kind=kind: float(looking.gone[kind]))  # type: ignore[misc]
    async with running(kept_running("retention", looking.run, app[METRICS].restarts)):
        yield


def _began_before(row: bytes, before_ms: int) -> bool:
    """Return whether an ended session began before a moment; one that cannot be read is for those who follow it."""
    try:
        return decode_ended(row).started_ms < before_ms
    except ValueError:
        return False


def _parts(keys: list[bytes]) -> Iterator[list[bytes]]:
    return (keys[at : at + _AT_ONCE] for at in range(0, len(keys), _AT_ONCE))
