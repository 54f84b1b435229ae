"""What the trends flow does around the counting core: bytes to events, updates to rows. No Bytewax, no IO here.

State is keyed: an `OpenSession` a session (`retrieval.open_sessions`), an `ItemTally` an item. Both are mutable, and
copied when they are saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Self

from contracts.codec import EndedSession, encode_ended, encode_showings, encode_trend
from contracts.events import Rejection
from contracts.ids import ItemKey
from contracts.items import ItemSeen
from contracts.plain_events import decode_event
from eventlog.contract import Batch, DeadLetter
from flows.read_record import read_record
from retrieval.ended_sessions import Slot, slot_of
from retrieval.open_sessions import LeaveOut, SessionOutput, TrendEvent, raise_again
from retrieval.showings import ShowingBatch, ShowingCounts, Showings
from retrieval.trends import ItemUpdate, TrendAccumulator, TrendRules

_CHECK_ITEM_MS = 600_000
_CHECK_TOGETHER_MS = 60_000


def aligned(at_ms: int, every_ms: int) -> int:
    """Return the next moment from `at_ms` on that many keys share: each time that any of its keys is due, Bytewax looks
    at all of them.
    """
    every_ms = max(1, every_ms)
    return -(-at_ms // every_ms) * every_ms


class TrendRow(NamedTuple):
    """An item's row of the trends table, encoded; None deletes it."""

    row: bytes | None


class ShowingRow(NamedTuple):
    """A block of the showings table, encoded."""

    row: bytes


class SessionRow(NamedTuple):
    """An ended session's row of the ended-sessions table, encoded."""

    slot: Slot
    row: bytes

    @classmethod
    def of(cls, session_id: str, session: EndedSession, rules: TrendRules) -> Self:
        return cls(slot_of(session_id, session.started_ms, rules.sessions), encode_ended(session))


class Watermark:
    """The newest event time that this process has read."""

    def __init__(self) -> None:
        self.latest_ms = 0

    def observe(self, ts_ms: int) -> None:
        self.latest_ms = max(self.latest_ms, ts_ms)


def decode_events(
    batch: Batch, *, now_ms: int, max_future_ms: int
) -> tuple[list[tuple[str, TrendEvent]], Sequence[DeadLetter]]:
    """Decode a batch into (session id, event), and what could not be read as dead letters."""
    decode = partial(decode_event, now_ms=now_ms, max_future_ms=max_future_ms)
    events: list[tuple[str, TrendEvent]] = []
    rejected: list[DeadLetter] = []
    for message in batch.messages:
        event = read_record(decode, message.value)
        if isinstance(event, Rejection):
            rejected.append(batch.letter(message.offset, message.value, event, now_ms=now_ms))
        else:
            events.append((event.session_id, TrendEvent.of(event)))
    return events, rejected


def updates_by_item(outputs: Iterable[tuple[str, SessionOutput]]) -> list[tuple[str, list[ItemUpdate]]]:
    """Return what sessions' outputs say of each item: one value an item, however often a micro-batch names it."""
    updates: dict[ItemKey, list[ItemUpdate]] = {}
    for _, output in outputs:
        if not isinstance(output, Showings | EndedSession):
            item, update = output
            updates.setdefault(item, []).append(update)
    return [(str(item), mine) for item, mine in updates.items()]


@dataclass(slots=True)
class ItemTally:
    """One item's counters, and when they were last written. `unwritten` says that they have moved since."""

    counts: TrendAccumulator
    touched_ms: int = 0
    written_ms: int = -1_000_000_000
    unwritten: bool = False
    announced: bool = False

    def take(
        self, updates: Sequence[ItemUpdate], *, now_ms: int, emit_interval_ms: int, leave_out: LeaveOut = raise_again
    ) -> list[TrendRow | ItemSeen]:
        """Count; returns the row if it is due, and the item itself at its first click. `leave_out` is told of what
        cannot be counted."""
        out: list[TrendRow | ItemSeen] = []
        for update in updates:
            try:
                self.counts.apply(update)
                if update.item_id is not None and not self.announced:
                    self.announced = True
                    out.append(ItemSeen(item_id=update.item_id, ts=update.ts_ms))
            except MemoryError:  # not the update's fault: it is counted when it is read again
                raise
            except Exception as error:
                leave_out(update, error)
        self.touched_ms, self.unwritten = now_ms, True
        if now_ms >= self.written_ms + emit_interval_ms:
            out.extend(self.write(now_ms))
        return out

    def write(self, now_ms: int) -> list[TrendRow | ItemSeen]:
        """Return the row if it has moved since it was last written."""
        if not self.unwritten:
            return []
        self.unwritten, self.written_ms = False, now_ms
        return [TrendRow(encode_trend(self.counts.snapshot(self.counts.last_ms)))]

    def is_forgotten(self, *, forget_after_ms: int, now_ms: int, watermark_ms: int) -> bool:
        """Say whether the item has been quiet for so long that it may go, by event time or by the clock."""
        if self.unwritten:
            return False
        return watermark_ms > self.counts.last_ms + forget_after_ms or now_ms >= self.touched_ms + forget_after_ms

    def wake_ms(self, now_ms: int, *, emit_interval_ms: int) -> int:
        """Return when to write, or to ask `is_forgotten`, again."""
        if self.unwritten:
            return aligned(self.written_ms + emit_interval_ms, emit_interval_ms // 4)
        return aligned(now_ms + _CHECK_ITEM_MS, _CHECK_TOGETHER_MS)

    def copy(self) -> ItemTally:
        return ItemTally(self.counts.copy(), self.touched_ms, self.written_ms, self.unwritten, self.announced)


@dataclass(slots=True)
class ShowingTally:
    """The showings of a shard's items, and when they were last written. `unwritten` says that they moved since."""

    counts: ShowingCounts
    written_ms: int = -1_000_000_000
    unwritten: bool = False

    def take(
        self, batches: Sequence[ShowingBatch], *, now_ms: int, interval_ms: int, forget_before_ms: int
    ) -> list[ShowingRow]:
        """Count; returns the block if it is due: see `write`."""
        for batch in batches:
            self.counts.count(batch)
        self.unwritten = True
        return self.write(now_ms, forget_before_ms) if now_ms >= self.written_ms + interval_ms else []

    def write(self, now_ms: int, forget_before_ms: int) -> list[ShowingRow]:
        """Return the block if it moved since it was last written, without items whose newest showing is older than
        `forget_before_ms`.
        """
        if not self.unwritten:
            return []
        self.counts.forget(forget_before_ms)
        self.unwritten, self.written_ms = False, now_ms
        return [ShowingRow(encode_showings(self.counts.block()))]

    def copy(self) -> ShowingTally:
        return replace(self, counts=self.counts.copy())
