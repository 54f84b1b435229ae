"""What the trends flow does around the counting core: bytes to events, updates to rows. No Bytewax, no IO here.

State is keyed by what is many: `PartitionSessions` a partition of the log, an `ItemTally` and a `ShowingTally` a shard
of the items. All are mutable, and copied when they are saved.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple

import msgspec
import numpy as np

from contracts.codec import encode_ended, encode_showings
from contracts.errors import StateUnavailable
from contracts.events import Rejection
from contracts.ids import ItemKey
from contracts.items import ItemSeen
from contracts.plain_events import NO_TYPES, decode_event, read_as
from contracts.settings import TrendOptions
from eventlog.contract import Batch, DeadLetter, Topic
from flows.read_record import read_record
from retrieval.ended_sessions import Slot
from retrieval.open_sessions import LeaveOut, OpenSession, OpenSessions, ReadUpTo, TrendEvent
from retrieval.showings import SHARDS, ShowingBatch, ShowingCounts, Showings, shard_of
from retrieval.showings import by_shard as part_showings
from retrieval.trend_counts import Keys, KnownOf, TrendCounts, all_known
from retrieval.trend_updates import Updates, by_shard, updates_of
from retrieval.trends import VISITED_WITHIN, CountedClick, TrendRules

log = logging.getLogger(__name__)

WAITS_MS: Final = VISITED_WITHIN // timedelta(milliseconds=1)
_AGAIN_A_SECOND: Final = 5_000
"""Rows written again where Redis lost them, of all shards: beside what moves, which is never held up."""
_AGAIN_AT_LEAST_MS: Final = 100
_SAY_EVERY_MS: Final = 600_000
_OPEN_BYTES: Final = "the memory that trend.open_bytes allows (NEXTCLICK_TREND__OPEN_BYTES)"
_FORGET_EVERY_MS: Final = 600_000
_FORGET_PAUSE_MS: Final = 60_000
_TURNS: Final = 4
"""Parts of the interval at which rows are written, a quarter of the shards at each."""


class TrendRows(NamedTuple):
    """Rows of the trends table, encoded, by key; those of `deleted` keys are let go."""

    rows: dict[ItemKey, bytes]
    deleted: list[ItemKey]


class ShowingRow(NamedTuple):
    """A block of the showings table, encoded."""

    row: bytes


class SessionRows(NamedTuple):
    """Rows of the ended-sessions table, encoded, by slot."""

    rows: dict[Slot, bytes]


class EventTime:
    """The newest event time that was read, which is never ahead of the clock: a sender whose clock is ends nobody
    else's session. In a log that has gone quiet, where event time stands still, it goes on with the clock.
    """

    def __init__(self, latest_ms: int, now_ms: int) -> None:
        self.latest_ms, self._read_ms = latest_ms, now_ms

    def observe(self, ts_ms: int, now_ms: int) -> None:
        self.latest_ms, self._read_ms = max(self.latest_ms, min(ts_ms, now_ms)), now_ms

    def at(self, now_ms: int) -> int:
        """Return the event time at a moment of the clock."""
        return self.latest_ms + max(0, now_ms - self._read_ms)


class TopicsTime:
    """The event time of a partition whose clicks and impressions are read side by side.

    In a backlog one of the two may be read far ahead of the other: sessions end only by what both have reached. A topic
    that was read to its end holds nothing back.
    """

    def __init__(self, clicks_ms: int, pages_ms: int, now_ms: int) -> None:
        self._times = {Topic.CLICKS: EventTime(clicks_ms, now_ms), Topic.IMPRESSIONS: EventTime(pages_ms, now_ms)}
        self._behind = set(self._times)

    def observe(self, topic: Topic, newest_ms: int, now_ms: int) -> None:
        """Note the newest event of a reading; 0 is none."""
        if newest_ms:
            self._times[topic].observe(newest_ms, now_ms)
            self._behind.add(topic)

    def caught_up(self, topic: Topic) -> None:
        """Note that nothing is left to read of a topic."""
        self._behind.discard(topic)

    def at(self, now_ms: int) -> int:
        """Return the event time at a moment of the clock."""
        reached = [self._times[topic].latest_ms for topic in self._behind]
        return min([max(time.at(now_ms) for time in self._times.values()), *reached])


Events = list[tuple[str, TrendEvent]]
"""Events of one partition, each with its session's id, in the order in which they were read."""


def decode_events(
    batch: Batch, *, now_ms: int, max_future_ms: int, types: Mapping[str, str] = NO_TYPES
) -> tuple[Events, Sequence[DeadLetter]]:
    """Decode a batch into (session id, event), and what could not be read as dead letters. `types`: what types of the
    site's own mean."""
    decode = partial(decode_event, now_ms=now_ms, max_future_ms=max_future_ms)
    events: Events = []
    rejected: list[DeadLetter] = []
    for message in batch.messages:
        event = read_record(decode, message.value)
        if isinstance(event, Rejection):
            rejected.append(batch.letter(message.offset, message.value, event, now_ms=now_ms))
        else:
            events.append((event.session_id, TrendEvent.of(read_as(event, types))))
    return events, rejected


class WriteAgain(NamedTuple):
    """What a shard's counters are told when the table may have lost rows: `in_table` are the items that it has now."""

    in_table: Keys


class ShardUpdates(NamedTuple):
    """What was said of a shard's items, and where new items have to be announced, the ids of those clicked."""

    updates: Updates
    item_ids: Mapping[ItemKey, str]


class Followed(NamedTuple):
    """What came of a reading of one partition: clicks that count, what was shown, and sessions that ended."""

    clicks: Sequence[CountedClick]
    showings: Sequence[Showings]
    ended: SessionRows


def updates_by_shard(followed: Iterable[tuple[str, Followed]], *, names: bool) -> list[tuple[str, ShardUpdates]]:
    """Gather what several partitions said of items, and part it by the items' shards. With `names`, with the ids of
    those clicked.
    """
    clicks = [click for _, one in followed for click in one.clicks]
    item_ids = {click.item: click.item_id for click in clicks} if names else {}
    return [(str(shard), ShardUpdates(part, item_ids)) for shard, part in by_shard(updates_of(clicks))]


def showings_by_shard(followed: Iterable[tuple[str, Followed]]) -> list[tuple[str, ShowingBatch]]:
    """Gather what several partitions said of showings, and part it by the items' shards."""
    showings = [showing for _, one in followed for showing in one.showings]
    return [(str(shard), batch) for shard, batch in part_showings(showings)]


def ended_sessions(followed: tuple[str, Followed]) -> tuple[str, SessionRows] | None:
    """Return the rows of sessions that ended, where any did."""
    partition, one = followed
    return (partition, one.ended) if one.ended.rows else None


class PartitionSessions:
    """The open sessions of one partition, and its event time. Mutable."""

    def __init__(
        self,
        rules: TrendRules,
        idle_gap_ms: int,
        *,
        now_ms: int,
        saved: bytes | None = None,
        leave_out: LeaveOut,
        most_bytes: int = 2**62,
    ) -> None:
        """Sessions that take more memory than `most_bytes` end early, those longest without a click first."""
        self._most_bytes, self._ended_early, self._said_ms = most_bytes, 0, 0
        held = _sessions_of(saved) if saved is not None else SavedSessions({}, ReadUpTo())
        sessions = held.sessions
        self._leave_out = leave_out
        self._open = OpenSessions(rules, idle_gap_ms, sessions, held.read)
        self._time = TopicsTime(max(0, held.read.click[0]), max(0, held.read.page[0]), now_ms)

    def __len__(self) -> int:
        return len(self._open)

    def take(self, events: Events, now_ms: int) -> int:
        """Fold a reading's events in, and return the newest one's time. `leave_out` is told of those that cannot be."""
        self._open.take(events, self._leave_out)
        if self._open.size > self._most_bytes:
            self._ended_early += self._open.bound(self._most_bytes)
            if not self._said_ms or now_ms - self._said_ms > _SAY_EVERY_MS:
                self._said_ms = now_ms
                log.warning("%d sessions ended early so far: open ones take %s", self._ended_early, _OPEN_BYTES)
        clicks_ms = max((event.ts_ms for _, event in events if event.item_id is not None), default=0)
        pages_ms = max((event.ts_ms for _, event in events if event.item_id is None), default=0)
        self._time.observe(Topic.CLICKS, clicks_ms, now_ms)
        self._time.observe(Topic.IMPRESSIONS, pages_ms, now_ms)
        return max(clicks_ms, pages_ms)

    def drop(self, session_ids: Iterable[str]) -> None:
        """Let go of sessions that no human has: they do not vote."""
        self._open.drop(session_ids)

    def forget(self, erased_ms: Callable[[str], int]) -> None:
        """Let go of sessions that began before their visitor was erased; `erased_ms` says when that was."""
        there = self._open.sessions
        self._open.drop([name for name, session in there.items() if session.started_ms <= erased_ms(name)])

    def caught_up(self, topic: Topic) -> None:
        """Note that nothing is left to read of a topic of the partition."""
        self._time.caught_up(topic)

    def close(self, now_ms: int) -> None:
        """End the sessions that no click can join any more."""
        self._open.close(self._time.at(now_ms))

    def followed(self) -> Followed | None:
        """Return what came of the events since the last call, None if nothing did."""
        clicks, showings, ended = self._open.clicks(), self._open.showings(), self._open.ended()
        if not (clicks or showings or ended):
            return None
        return Followed(clicks, showings, SessionRows({slot: encode_ended(one) for slot, one in ended}))

    def saved(self) -> bytes:
        """Return the sessions as bytes, to be held again."""
        return _encode_sessions(SavedSessions(self._open.sessions, self._open.read))


@dataclass(frozen=True, slots=True)
class SavedSessions:
    """A partition's open sessions, and up to where it was read."""

    sessions: dict[str, OpenSession]
    read: ReadUpTo


_encode_sessions: Final = msgspec.msgpack.Encoder().encode
_decode_sessions: Final = msgspec.msgpack.Decoder(SavedSessions).decode


def _sessions_of(saved: bytes) -> SavedSessions:
    """Return saved sessions. Those that cannot be read begin afresh: a flow that raised would do so at every start."""
    try:
        held = _decode_sessions(saved)
        for one in held.sessions.values():
            one.expect_plausible()
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        log.error("a partition's open sessions (%d bytes) cannot be read and begin afresh: %s", len(saved), error)
        return SavedSessions({}, ReadUpTo())
    return held


class Bounds(NamedTuple):
    """How many items a shard keeps, and how many may wait."""

    kept: int
    waiting: int

    @classmethod
    def of(cls, options: TrendOptions) -> Bounds:
        """Return a shard's share of what the settings allow."""
        return cls(options.max_items // SHARDS, options.waiting // SHARDS)


def again_at_once(interval_ms: int) -> int:
    """Return how many rows a shard writes again each interval."""
    return max(1, _AGAIN_A_SECOND // SHARDS * max(interval_ms, _AGAIN_AT_LEAST_MS) // 1000)


_NO_BOUNDS: Final = Bounds(2**62, 2**62)


@dataclass(slots=True)
class ItemTally:
    """The counters of a shard's items, and when they were last written. `known` says which items the catalogue has."""

    counts: TrendCounts
    bounds: Bounds = _NO_BOUNDS
    known: KnownOf = all_known
    again_at_once: int = _AGAIN_A_SECOND // SHARDS
    again: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))
    """Items whose rows are to be written again."""
    strange: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))
    """Items that the table has and this has not."""
    written_ms: int = -1_000_000_000
    forgot_ms: int = -1_000_000_000

    def take(self, batches: Sequence[ShardUpdates]) -> list[ItemSeen]:
        """Count; returns the items that were clicked for the first time."""
        seen = []
        for updates, item_ids in batches:
            for first in updates[self.counts.apply(updates)]:
                item_id = item_ids.get(ItemKey(int(first["item"])))
                if item_id is not None:
                    seen.append(ItemSeen(item_id=item_id, ts=int(first["ts_ms"])))
        return seen

    def write_again(self, in_table: Keys) -> None:
        """Have the rows of all items written again, some with each `write`, and those let go that the table has and
        this has not.
        """
        self.again = self.counts.keys.copy()
        self.strange = np.setdiff1d(in_table, self.counts.kept_keys)

    def write(self, now_ms: int, forget_before_ms: int, waiting_before_ms: int = -1) -> list[TrendRows]:
        """Return the rows that moved since they were last written, and the items that are let go: their newest event is
        older than `forget_before_ms` (`waiting_before_ms` of those that wait), or there are too many. Age is looked at
        once a minute at most: whoever lets go of one item moves all the others (13 ms of 6,250 with 60 pairs each), and
        where items come and go there is one each second.
        """
        self.written_ms = now_ms
        is_due = now_ms >= self.forgot_ms + _FORGET_PAUSE_MS
        with suppress(StateUnavailable):  # asked again with the next rows
            self.counts.admit(self.known, all_that_wait=is_due)
        deleted: list[ItemKey] = self.counts.bound(*self.bounds).tolist()
        if len(self.strange):
            deleted += np.setdiff1d(self.strange, self.counts.kept_keys).tolist()
            self.strange = self.strange[:0]
        now, self.again = self.again[: self.again_at_once], self.again[self.again_at_once :]
        self.counts.write_again(now)
        changed = self.counts.changed_rows()
        rows = dict(zip(changed.keys.tolist(), changed.encoded(), strict=True))
        if is_due:
            self.forgot_ms = now_ms
            deleted += self.counts.forget(forget_before_ms, waiting_before_ms).tolist()
        return [TrendRows(rows, deleted)] if rows or deleted else []

    def due_ms(self, now_ms: int, *, interval_ms: int) -> int:
        """Return when to write again: within an interval after the last time, where all shards have turns of their own,
        so that those who read do not get everything at once.
        """
        if not (self.counts.unwritten or len(self.again) or len(self.strange)):
            return now_ms + (_FORGET_PAUSE_MS if self.counts.any_waits else _FORGET_EVERY_MS)
        some = self.counts.keys if len(self.counts) else self.strange
        turn_ms = shard_of(int(some[0])) % _TURNS * interval_ms // _TURNS
        waited_ms = (self.written_ms - turn_ms) % interval_ms if interval_ms else 0
        return self.written_ms + interval_ms - waited_ms


@dataclass(slots=True)
class ShowingTally:
    """The showings of a shard's items, and when they were last written. `unwritten` says that they moved since."""

    counts: ShowingCounts
    written_ms: int = -1_000_000_000
    unwritten: bool = False

    def take(
        self, batches: Sequence[ShowingBatch], *, now_ms: int, interval_ms: int, left: Callable[[ShowingCounts], None]
    ) -> list[ShowingRow]:
        """Count; returns the block if it is due: see `write`."""
        for batch in batches:
            self.counts.count(batch)
        self.unwritten = True
        return self.write(now_ms, left) if now_ms >= self.written_ms + interval_ms else []

    def write(self, now_ms: int, left: Callable[[ShowingCounts], None]) -> list[ShowingRow]:
        """Return the block if it moved since it was last written. Before that, `left` lets go of what must go."""
        if not self.unwritten:
            return []
        left(self.counts)
        self.unwritten, self.written_ms = False, now_ms
        return [ShowingRow(encode_showings(self.counts.block()))]

    def copy(self) -> ShowingTally:
        return replace(self, counts=self.counts.copy())
