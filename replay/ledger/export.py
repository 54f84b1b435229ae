"""Reading the log, or recordings, into the ledger: what is read is kept on a shelf, and closed hours are written once.

An hour closes when an event is newer than its end and the time in which outcomes count for it. Whoever dies goes on
where the shelf says; an hour that was being written is written again, with the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from attribution.cells import HOUR_MS
from attribution.credit import SKEW_MS, CreditRules
from attribution.facts import Page, fact_of
from contracts.clock import wall_clock_ms
from contracts.events import Rejection
from contracts.ids import partition_of
from contracts.plain_events import PlainEvent, decode_event, plain, read_as
from contracts.settings import ServiceSettings
from eventlog.contract import LogReader, Topic
from eventlog.files import read_events
from eventlog.open_log import open_reader
from replay.ledger.hours import (
    Manifest,
    expect_parquet,
    name_of,
    read_manifest,
    rows_of_hour,
    write_hour,
    write_manifest,
)
from replay.ledger.shelf import LoggedFact, Place, Shelf, chance_of

TOPICS: Final = (Topic.IMPRESSIONS, Topic.CLICKS)
SHELF: Final = "_reading.sqlite"
RECORDED: Final = "_recorded.sqlite"
_AT_ONCE: Final = 2000


class Wanted(NamedTuple):
    """Which hours (whole hours since 1970, both ends included), and how long outcomes are waited for."""

    first_hour: int = 0
    last_hour: int = 1 << 40
    settle_ms: int = 0


Tell = Callable[[str], None]


class Ledger:
    """A folder of hours, and its shelf. For one process at a time."""

    def __init__(self, folder: Path, settings: ServiceSettings, wanted: Wanted, tell: Tell, shelf: str = SHELF) -> None:
        """Raises OutputRefused, SettingsError."""
        expect_parquet()
        options = settings.attribution
        self._rules = CreditRules(options.click_ms, options.purchase_ms, options.touch)
        self._folder, self.settings, self._wanted, self._tell = folder, settings, wanted, tell
        self.manifest: Manifest = read_manifest(folder, self._rules, wanted.settle_ms)
        folder.mkdir(parents=True, exist_ok=True)
        self.shelf = Shelf(folder / shelf, most=max(options.max_pages, options.max_outcomes))
        self._closed_before = self._first_open()

    def take(self, source: str, partition: int, next_offset: int, events: Iterable[tuple[int, PlainEvent]]) -> None:
        """Take a part of a partition, in its order."""
        place, counts, facts = self.shelf.place(source), Counter[str](), list[LoggedFact]()
        newest = place.newest_ms
        for offset, event in events:
            fact = fact_of(read_as(event, self.settings.events.types))
            if fact is None:
                continue
            newest = max(newest, fact.ts)
            if fact.ts < newest - self._rules.longest_ms:
                counts["late"] += 1
            elif isinstance(fact.what, Page) and fact.ts // HOUR_MS < self._closed_before:
                counts["of_closed_hours"] += 1
            else:
                chance = chance_of((event.context or {}).get("propensity"))
                items = event.items or () if isinstance(fact.what, Page) else ()
                facts.append(LoggedFact(fact, partition, offset, tuple(items), chance))
        self.shelf.take(source, Place(next_offset, newest), facts, counts)

    def write(self, *, also_open: bool = False) -> int:
        """Write hours that are closed now, and where asked those that are not yet. Returns how many."""
        newest, written = self.shelf.newest_ms(), 0
        closed_before = (newest - self._wanted.settle_ms) // HOUR_MS
        offsets, at_ms = self.shelf.offsets(), self._closed_before * HOUR_MS
        while (found := self.shelf.first_page_ms(at_ms)) is not None:
            hour = found // HOUR_MS
            closed = hour < closed_before
            if not closed and not also_open:
                break
            was = self.manifest.hours.get(name_of(hour))
            if self._wanted.first_hour <= hour <= self._wanted.last_hour and not (was is not None and was.closed):
                rows = rows_of_hour(self.shelf, hour, self._rules, self._wanted.settle_ms)
                done = write_hour(self._folder, hour, rows, closed=closed, offsets=offsets)
                self.manifest.hours[name_of(hour)], written = done, written + 1
                self.manifest.left_out = self.shelf.counts()
                write_manifest(self._folder, self.manifest)
                self._tell(f"{name_of(hour)}: {done.rows:,} rows{'' if closed else ', not closed yet'}")
            at_ms = (hour + 1) * HOUR_MS
        if closed_before > self._closed_before:
            self._forget(closed_before)
        return written

    def close(self) -> None:
        self.shelf.close()

    def _forget(self, closed_before: int) -> None:
        self._closed_before = closed_before
        oldest, longest = closed_before * HOUR_MS - SKEW_MS, self._rules.longest_ms
        self.shelf.take("closed", Place(closed_before, 0), (), {})
        self.shelf.forget(oldest - longest, oldest - 2 * longest)

    def _first_open(self) -> int:
        return self.shelf.place("closed").next_offset


@contextmanager
def log_reading(ledger: Ledger, *, max_wait_s: float = 0.5) -> Iterator[Callable[[], None]]:
    """Give what reads both topics up to where they end now, into a ledger. It goes on where the ledger's shelf says.
    Raises LogUnavailable. A log that was trimmed before it was read: the count `lost` says how many records.
    """
    settings = ledger.settings
    partitions = list(range(settings.log.partitions))
    with ExitStack() as stack:
        readers = {
            topic: stack.enter_context(closing(open_reader(settings.log, settings.redis, topic, partitions, "ledger")))
            for topic in TOPICS
        }

        def read() -> None:
            for topic, reader in readers.items():
                _read_topic(ledger, topic, reader, max_wait_s)

        yield read


def _read_topic(ledger: Ledger, topic: Topic, reader: LogReader, max_wait_s: float) -> None:
    at, ends = dict[int, int](), dict[int, int](reader.ends())
    for partition, earliest in dict[int, int](reader.earliest()).items():
        source = f"{topic}:{partition}"
        place = ledger.shelf.place(source)
        if place.next_offset > ends[partition]:  # the log was emptied: what comes again is known by its id
            place = Place(earliest, place.newest_ms)
        at[partition] = max(earliest, place.next_offset)
        if earliest > place.next_offset:
            ledger.shelf.take(source, Place(earliest, place.newest_ms), (), {"lost": earliest - place.next_offset})
        reader.seek(partition, at[partition])
    while any(at[partition] < end for partition, end in ends.items()):
        now_ms = wall_clock_ms()
        for batch in reader.poll(_AT_ONCE, max_wait_s):
            at[batch.partition] = batch.next
            events = [
                (message.offset, event)
                for message in batch.messages
                if not isinstance(event := decode_event(message.value, now_ms=now_ms), Rejection)
            ]
            ledger.take(f"{topic}:{batch.partition}", batch.partition, batch.next, events)


def take_recordings(ledger: Ledger, files: Iterable[Path]) -> None:
    """Read recorded events into a ledger, in the order of the files: offsets are places among all of them."""
    at = 0
    for file in files:
        events = enumerate(read_events(file), at)
        while part := list(islice(events, _AT_ONCE)):
            for source, partition, own in _by_partition(ledger.settings, part):
                ledger.take(source, partition, own[-1][0] + 1, own)
            at = part[-1][0] + 1


def _by_partition(
    settings: ServiceSettings, events: Iterable[tuple[int, object]]
) -> Iterator[tuple[str, int, list[tuple[int, PlainEvent]]]]:
    found: dict[tuple[str, int], list[tuple[int, PlainEvent]]] = {}
    for offset, event in events:
        one = plain(event)  # type: ignore[arg-type]
        partition = partition_of(one.session_id, settings.log.partitions)
        topic = Topic.IMPRESSIONS if one.is_impression else Topic.CLICKS
        found.setdefault((f"{topic}:{partition}", partition), []).append((offset, one))
    for (source, number), own in found.items():
        yield source, number, own


def totals(manifest: Manifest) -> Mapping[str, int]:
    """Return how many hours, pages and rows a ledger has."""
    hours = manifest.hours.values()
    return {"hours": len(hours), "pages": sum(one.pages for one in hours), "rows": sum(one.rows for one in hours)}
