"""Recording from the event log, either kind: what it holds, or what arrives for a while, as an event-log file.

Sampling goes by session, so that sessions stay whole. Nothing is committed: a recorder is no consumer that lag tools
or trimming could see.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import orjson

from contracts.clock import wall_clock_ms
from contracts.errors import OffsetTrimmed, SettingsError
from contracts.events import Rejection
from contracts.plain_events import decode_event
from contracts.settings import ServiceSettings
from eventlog.contract import LogReader, Topic
from eventlog.files import Header, write_events
from eventlog.open_log import open_reader
from eventlog.sampling import in_sample
from replay.engine.anonymise import Anonymiser
from replay.importers.sorting import sort_by_time

GROUP = "record"
TOPICS = (Topic.CLICKS, Topic.IMPRESSIONS)
POLL_RECORDS = 2000
POLL_S = 0.05

Progress = Callable[[int], None]
"""Called with the number of events so far."""


class From(StrEnum):
    """Where a recording starts."""

    LOG = "log"
    """At the oldest record that the log still keeps."""
    NOW = "now"


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """What to record. `seconds` None stops at what the log held when the recording began."""

    out: Path
    start: From = From.LOG
    seconds: float | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise SettingsError(f"--sample: expected a share above 0 and up to 1, got {self.share}")
        if self.start is From.NOW and self.seconds is None:
            raise SettingsError("--from now: expected --seconds too: how long to record")


@dataclass(slots=True)
class Recorded:
    """What a recording came to; grows while it runs. `broken` counts records that are no events, by reason;
    `trimmed` are records that the log let go before they were read.
    """

    header: Header | None = None
    taken: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    trimmed: int = 0


def record_log(
    options: RecordOptions,
    settings: ServiceSettings,
    *,
    anonymiser: Anonymiser | None = None,
    progress: Progress = lambda taken: None,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Recorded:
    """Record the log that the settings name into a file; `stop` is asked now and then. `clock` counts seconds.

    Memory holds one run of the sort. Raises LogUnavailable when the log cannot be read.
    """
    recorded = Recorded()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".record-", dir=options.out.parent) as folder:
        taken = _told(_events(options, settings, recorded, stop, clock), recorded, progress)
        ordered = sort_by_time(taken, Path(folder))
        lines = ordered if anonymiser is None else anonymiser.lines(ordered)
        recorded.header = write_events(options.out, lines, anonymised=anonymiser is not None)
    progress(recorded.taken)
    return recorded


def _told(events: Iterator[tuple[int, bytes]], recorded: Recorded, progress: Progress) -> Iterator[tuple[int, bytes]]:
    for event in events:
        recorded.taken += 1
        if recorded.taken % 1000 == 0:
            progress(recorded.taken)
        yield event


def _events(
    options: RecordOptions,
    settings: ServiceSettings,
    recorded: Recorded,
    stop: Callable[[], bool],
    clock: Callable[[], float],
) -> Iterator[tuple[int, bytes]]:
    """Yield (epoch ms, event JSON) of the sampled sessions, as the log gives them."""
    partitions = range(settings.log.partitions)
    opened = [open_reader(settings.log, settings.redis, topic, partitions, GROUP) for topic in TOPICS]
    try:
        readers = [_Following(reader, options.start) for reader in opened]
        until = None if options.seconds is None else clock() + options.seconds
        while not stop():
            for following in readers:
                for raw in following.poll(recorded):
                    event = decode_event(raw, now_ms=wall_clock_ms(), max_future_ms=10**14)
                    if isinstance(event, Rejection):
                        recorded.broken[event.reason] += 1
                    elif in_sample(event.session_id, options.share):
                        yield event.ts, raw if b"\n" not in raw else orjson.dumps(orjson.loads(raw))
            if until is None:
                if all(following.done for following in readers):
                    return
            elif clock() >= until:
                return
    finally:
        for reader in opened:
            reader.close()


class _Following:
    """One topic, read from a start on; `done` once what it held at first has been read."""

    def __init__(self, reader: LogReader, start: From) -> None:
        self._reader = reader
        self._ends = dict(reader.ends())
        self._next = dict(self._ends if start is From.NOW else reader.earliest())
        for partition, offset in self._next.items():
            reader.seek(partition, offset)

    @property
    def done(self) -> bool:
        return all(self._next[partition] >= end for partition, end in self._ends.items())

    def poll(self, recorded: Recorded) -> Iterator[bytes]:
        """Yield what is there, skipping over what the log has let go meanwhile."""
        try:
            batches = self._reader.poll(POLL_RECORDS, POLL_S)
        except OffsetTrimmed as error:
            recorded.trimmed += max(0, error.earliest - error.wanted)
            self._next[error.partition] = error.earliest
            self._reader.seek(error.partition, error.earliest)
            return
        for batch in batches:
            self._next[batch.partition] = batch.next
            for message in batch.messages:
                yield message.value
