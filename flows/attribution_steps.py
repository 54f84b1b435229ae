"""What the attribution flow does to a micro-batch: find the facts, join them with what is known, commit.

No Bytewax here.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from attribution.cells import HOUR_MS, Cells, field_of
from attribution.credit import CreditRules
from attribution.facts import Fact, fact_of
from attribution.join import by_session, join_sessions, join_users
from attribution.rows import encode_row
from attribution.sums import sums_of
from attribution.units import EMPTY, Bounds, Unit, decode_unit, encode_unit
from contracts.events import Rejection
from contracts.formats import NewerFormat
from contracts.left_out import LeftOutLog
from contracts.plain_events import NO_TYPES, decode_event, read_as
from contracts.settings import AttributionOptions
from eventlog.contract import Batch, DeadLetter, LogWriter, Message
from flows.read_record import read_record
from state.attribution import SESSION, USER, AttributionStore, Changes, Place, UnitKey

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FactBatch:
    """A batch, and the facts in it, in log order."""

    batch: Batch
    facts: Sequence[Fact]


def decode_facts(batch: Batch, *, now_ms: int, max_future_ms: int, types: Mapping[str, str] = NO_TYPES) -> FactBatch:
    """Find the facts. What cannot be read is passed by: the sessions flow keeps it as a dead letter."""

    def fact(message: Message) -> Fact | Rejection | None:
        event = decode_event(message.value, now_ms=now_ms, max_future_ms=max_future_ms)
        return event if isinstance(event, Rejection) else fact_of(read_as(event, types))

    found = [read_record(fact, message) for message in batch.messages]
    return FactBatch(batch, [one for one in found if isinstance(one, Fact)])


def in_time(facts: Sequence[Fact], newest_ms: int, longest_ms: int) -> tuple[list[Fact], int, int]:
    """Return the facts of a partition that are not late, how many are, and the newest time behind them.

    A fact is late when one before it in its partition of its topic is newer by more than the longest window: the log
    alone says so, however fast either topic was read.
    """
    taken: list[Fact] = []
    for fact in facts:
        newest_ms = max(newest_ms, fact.ts)
        if fact.ts >= newest_ms - longest_ms:
            taken.append(fact)
    return taken, len(facts) - len(taken), newest_ms


def rules_of(options: AttributionOptions) -> CreditRules:
    return CreditRules(options.click_ms, options.purchase_ms, options.touch)


class AttributionPath:
    """Applies micro-batches of both topics: each event once, whoever else writes the same visitor."""

    def __init__(
        self,
        *,
        store: AttributionStore,
        writer: Callable[[], LogWriter],
        options: AttributionOptions,
        published: Callable[[Collection[str]], Collection[str]] = frozenset,
    ) -> None:
        """`writer` opens the log for dead letters, when the first is written. `published` returns which names are those
        of experiments: of others no unit is kept; without it, all are.
        """
        self._store, self._writer, self._published = store, writer, published
        self._rules, self._longest_ms = rules_of(options), options.longest_ms
        self._bounds = Bounds(options.max_pages, options.max_outcomes, options.unit_ms)
        self._keep_hours, self._oldest_hour = options.keep_ms // HOUR_MS, 0
        self._said = LeftOutLog(log)

    def apply(self, decoded: FactBatch, letters: Sequence[DeadLetter] = ()) -> None:
        """Count a batch. Raises StateUnavailable or LogUnavailable: call again with the same batch; StateConflict where
        the batch does not begin at what was counted: somebody else counted it, or Redis went back.
        """
        if letters:
            self._writer().dead_letter(letters)
        batch, topic = decoded.batch, str(decoded.batch.topic)
        while True:
            stored = self._store.place(topic, batch.partition)
            facts, late, newest_ms = in_time(decoded.facts, stored.newest_ms, self._longest_ms)
            loaded, changes = self._joined(facts, late)
            was, now = Place(batch.start, stored.newest_ms), Place(batch.next, newest_ms)
            if self._store.commit(topic, batch.partition, was, now, loaded, changes):
                return self._forget(newest_ms)

    def _forget(self, newest_ms: int) -> None:
        """Take away, once an hour, what is older than figures are kept."""
        oldest = newest_ms // HOUR_MS - self._keep_hours
        if oldest > self._oldest_hour:
            self._oldest_hour = oldest
            self._store.forget_hours(oldest)
            self._store.forget_experiments(oldest)

    def _joined(self, facts: Sequence[Fact], late: int) -> tuple[dict[UnitKey, bytes], Changes]:
        """Return the revisions of the units that facts change, and all that they change."""
        told = by_session(facts)
        loaded, units = self._load(SESSION, told)
        told, left = _readable(told, units)
        sessions, for_users = join_sessions(told, units, self._rules, self._bounds)
        more, units = self._load(USER, for_users)
        for_users, more_left = _readable(for_users, units)
        users = join_users(for_users, units, self._rules, self._bounds)
        changed = {(SESSION, name): encode_unit(unit) for name, unit in sessions.units.items()}
        changed |= {(USER, name): encode_unit(unit) for name, unit in users.units.items()}
        sessions.cells.update(users.cells)
        counts = sessions.facts + users.facts + Counter(late=late, taken=len(facts))
        counts["newer_unit"] += left + more_left
        sums = sums_of(sessions.cells)
        named = {*sessions.rows, *users.rows, *(name for name, _ in sums)}
        there = self._published(named) if named else ()
        rows = {
            (name, kind): {unit: encode_row(row) for unit, row in of_it.items()}
            for kind, joined in ((SESSION, sessions), (USER, users))
            for name, of_it in joined.rows.items()
            if name in there
        }
        sums = {key: fields for key, fields in sums.items() if key[0] in there}
        return loaded | more, Changes(changed, by_hour(sessions.cells), counts, rows, sums)

    def _load(self, kind: str, names: Mapping[str, object]) -> tuple[dict[UnitKey, bytes], dict[str, Unit]]:
        found = self._store.units((kind, name) for name in names)
        read = {name: self._read(name, raw) for (_, name), (_, raw) in found.items()}
        units = {name: unit for name, unit in read.items() if unit is not None}
        return {key: revision for key, (revision, _) in found.items()}, units

    def _read(self, name: str, raw: bytes) -> Unit | None:
        """Return a unit; one that cannot be read begins afresh, None for one that a newer release wrote."""
        if not raw:
            return EMPTY
        try:
            return decode_unit(raw)
        except NewerFormat as error:
            self._said.say(f"what was kept of {name!r}", error)
            return None
        except ValueError as error:
            self._said.say(f"what was kept of {name!r}", error)
            return EMPTY


def _readable(told: Mapping[str, list[T]], units: Mapping[str, Unit]) -> tuple[dict[str, list[T]], int]:
    """Return what is told of units that can be read, and of how many others there are."""
    kept = {name: facts for name, facts in told.items() if name in units}
    return kept, len(told) - len(kept)


def by_hour(cells: Cells) -> dict[int, dict[bytes, int]]:
    """Return cells that are not 0 as they are written."""
    found: dict[int, dict[bytes, int]] = defaultdict(dict)
    for cell, count in cells.items():
        if count:
            found[cell.hour][field_of(cell)] = count
    return found
