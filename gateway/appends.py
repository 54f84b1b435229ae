"""The way into the log: bounded, so that a slow log is answered with 503 and not with a growing queue.

The log's own writer lets concurrent appends share a round trip.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from contracts.errors import LogFull, LogUnavailable
from contracts.outage import Outage
from eventlog.contract import AsyncLogWriter, DeadLetter, Position, Record, Topic
from gateway.background_writer import SETTLE_S, BackgroundWriter
from gateway.coalesce import Overloaded
from gateway.metrics import Metrics

log = logging.getLogger("nextclick.gateway")

MAX_RAW = 16_384
"""Bytes of a refused event that its dead letter keeps."""

GATHER_S = 0.2
"""Impressions of so long are appended together: one append costs as much as ten impressions."""


class Appends:
    """Appends that a request waits for, and background writers for what nobody waits for."""

    def __init__(self, writer: AsyncLogWriter, *, max_waiting: int, max_impressions: int) -> None:
        self._writer = writer
        self._max_waiting = max_waiting
        self.waiting = 0
        self.outages = {topic: Outage(log, f"{topic} are not taken: ", settle_s=SETTLE_S) for topic in Topic}
        self.newest_click: dict[int, int] = {}
        """By partition, the offset of the newest click that this process appended."""
        self.impressions: BackgroundWriter[Record] = BackgroundWriter(
            self._impressions, name="impressions", max_waiting=max_impressions, gather_s=GATHER_S
        )
        self.dead_letters: BackgroundWriter[DeadLetter] = BackgroundWriter(
            self._dead_letters, name="dead letters", max_waiting=max_impressions
        )
        self.letters: Counter[str] = Counter()
        """Dead letters that this process wrote, by reason."""

    async def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        """Append and return the positions once all records are durable.

        Raises LogUnavailable, LogFull, or Overloaded when too many records wait already (a request that finds
        nothing waiting is taken whatever its size).
        """
        after = self.waiting + len(records)
        if self.waiting and after > self._max_waiting:
            raise Overloaded(f"expected at most {self._max_waiting} events waiting for the log, got {after}: retry")
        self.waiting = after
        try:
            positions = await self._append(topic, records)
        finally:
            self.waiting -= len(records)
        if topic is Topic.CLICKS:
            self.newest_click.update(positions)
        return positions

    async def close(self, timeout_s: float) -> None:
        """Write what waits in the background writers, for at most `timeout_s` each, and close the writer."""
        await self.impressions.close(timeout_s)
        await self.dead_letters.close(timeout_s)
        await self._writer.close()

    async def _append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        outage = self.outages[topic]
        try:
            positions = await self._writer.append(topic, records)
        except LogFull:  # of one partition: the log works
            raise
        except LogUnavailable as error:
            outage.failed(error)
            raise
        outage.over()
        return positions

    async def _impressions(self, records: Sequence[Record]) -> None:
        await self._writer.append(Topic.IMPRESSIONS, records)

    async def _dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        await self._writer.dead_letter(letters)
        self.letters.update(letter.reason for letter in letters)


def dead_letter(raw: bytes, partition: int, reason: str, detail: str, at_ms: int) -> DeadLetter:
    """Make the dead letter of something that the gateway refused."""
    return DeadLetter("gateway", partition, reason, detail, at_ms, raw[:MAX_RAW])


def watch(appends: Appends, metrics: Metrics) -> None:
    """Show the queues and what became of what nobody waits for."""
    metrics.gauge("waiting", "What waits, by queue.", {"queue": "appends"}, lambda: appends.waiting)
    for topic, outage in appends.outages.items():
        about = "1 while the log takes records of the topic, as the last append found."
        metrics.gauge("log_takes", about, {"topic": topic}, lambda outage=outage: float(not outage.failures))  # type: ignore[misc]
    watch_line("impressions", appends.impressions, metrics)
    watch_line("dead_letters", appends.dead_letters, metrics)
    metrics.dead_letters = appends.letters


def watch_line(name: str, line: BackgroundWriter[Any], metrics: Metrics) -> None:
    """Show one background writer's queue and outcomes."""
    metrics.gauge("waiting", "What waits, by queue.", {"queue": name}, lambda: line.waiting)
    about = "Background writes by outcome."
    metrics.total("sideline", about, {"queue": name, "outcome": "written"}, lambda: line.counts.written)
    metrics.total("sideline", about, {"queue": name, "outcome": "dropped"}, lambda: line.counts.dropped)
    metrics.total("sideline", about, {"queue": name, "outcome": "failed"}, lambda: line.counts.failed)
