"""What the sessions flow does to a micro-batch: decode, fold, embed, and commit with the offset. No Bytewax here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import xxhash

from contracts.errors import StateConflict
from contracts.events import Rejection
from contracts.left_out import LeftOutLog, reason_of
from contracts.plain_events import PlainEvent, decode_event
from contracts.sessions import Session
from eventlog.contract import Batch, DeadLetter, LogWriter
from flows.read_record import read_record
from session_model.embedding import Encoder, ItemVectors, embed
from session_model.window import Arrival, Folded, Outcome, WindowRules, click_of, fold
from state.sessions import Loaded, SessionStore, Unreadable

log = logging.getLogger(__name__)

BAD_SESSION = "bad_session"
"""Reason of a stored session that cannot be read: it begins afresh."""
BEGUN_AFRESH = "begun_afresh"
DEAD_LETTERED = "dead_lettered"
IMPRESSIONS = "impressions"
LATE = Rejection("late", "older than the idle gap behind its partition's newest click: its session has closed")


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """A batch's clicks (offset, event) in log order, what could not be read, and how many impressions it passed by."""

    batch: Batch
    clicks: Sequence[tuple[int, PlainEvent]]
    rejected: Sequence[DeadLetter]
    impressions: int


@dataclass(frozen=True, slots=True)
class FoldedBatch:
    """A batch folded into its sessions: by session, what was and what is; and the watermark after it."""

    befores: Sequence[Session | None]
    foldeds: Sequence[Folded]
    late: Sequence[DeadLetter]
    watermark_ms: int


def decode_batch(batch: Batch, *, now_ms: int, max_future_ms: int) -> DecodedBatch:
    """Decode and validate every message; what fails becomes a dead letter with its reason."""
    decode = partial(decode_event, now_ms=now_ms, max_future_ms=max_future_ms)
    clicks: list[tuple[int, PlainEvent]] = []
    rejected: list[DeadLetter] = []
    impressions = 0
    for message in batch.messages:
        event = read_record(decode, message.value)
        if isinstance(event, Rejection):
            rejected.append(batch.letter(message.offset, message.value, event, now_ms=now_ms))
        elif event.is_impression:
            impressions += 1
        else:
            clicks.append((message.offset, event))
    return DecodedBatch(batch, clicks, rejected, impressions)


def fold_batch(decoded: DecodedBatch, loaded: Loaded, rules: WindowRules, *, now_ms: int) -> FoldedBatch:
    """Fold a batch's clicks into the sessions loaded for it. Late clicks become dead letters."""
    arrivals: dict[str, list[Arrival]] = {}
    watermark = loaded.watermark_ms
    for offset, event in decoded.clicks:
        arrival = Arrival(event.session_id, event.user_id, click_of(event), offset, watermark)
        arrivals.setdefault(event.session_id, []).append(arrival)
        watermark = max(watermark, event.ts)
    befores = [loaded.sessions.get(session_id) for session_id in arrivals]
    foldeds = [fold(before, theirs, rules) for before, theirs in zip(befores, arrivals.values(), strict=True)]
    late_offsets = {
        arrival.offset
        for theirs, folded in zip(arrivals.values(), foldeds, strict=True)
        for arrival, outcome in zip(theirs, folded.outcomes, strict=True)
        if outcome is Outcome.LATE
    }
    late = [
        decoded.batch.letter(message.offset, message.value, LATE, now_ms=now_ms)
        for message in decoded.batch.messages
        if message.offset in late_offsets
    ]
    return FoldedBatch(befores, foldeds, late, watermark)


class SessionPath:
    """Applies micro-batches to Redis: each one whole, once, and only where the stored offset says."""

    def __init__(
        self,
        *,
        store: SessionStore,
        writer: LogWriter,
        encoder: Encoder | None,
        item_vectors: ItemVectors,
        rules: WindowRules,
        clock_ms: Callable[[], int],
    ) -> None:
        self._store, self._writer = store, writer
        self._encoder, self._item_vectors = encoder, item_vectors
        self._rules, self._clock_ms = rules, clock_ms
        self._said = LeftOutLog(log)

    def apply(self, decoded: DecodedBatch, letters: Sequence[DeadLetter] = ()) -> None:
        """Fold, embed, write dead letters (`letters` among them), then commit sessions and offset together.

        A stored session that cannot be read becomes a dead letter (`bad_session`) and begins afresh.

        Raises StateConflict when the batch does not start at the stored offset: nothing but (idempotent) dead
        letters was written. Raises StateUnavailable or LogUnavailable: call again with the same batch.
        """
        batch = decoded.batch
        names = list(dict.fromkeys(event.session_id for _, event in decoded.clicks))
        loaded = self._store.load(batch.partition, names)
        if loaded.next_offset != batch.start:
            raise StateConflict(f"partition {batch.partition}", batch.start, loaded.next_offset)
        now_ms = self._clock_ms()
        folded = fold_batch(decoded, loaded, self._rules, now_ms=now_ms)
        sessions = embed(self._encoder, self._item_vectors, folded.befores, folded.foldeds)
        records = [*decoded.rejected, *folded.late, *letters]
        lost = [self._lost(batch.partition, one, now_ms) for one in loaded.unreadable]
        if records or lost:
            self._writer.dead_letter([*records, *lost])
        self._store.commit(
            batch.partition,
            start=batch.start,
            next=batch.next,
            watermark_ms=folded.watermark_ms,
            sessions=sessions,
            counts=_counts(decoded, folded, dead_lettered=len(records), begun_afresh=len(lost)),
        )

    def _lost(self, partition: int, session: Unreadable, now_ms: int) -> DeadLetter:
        """Return the dead letter of a stored session, and say it."""
        detail = f"session {session.session_id!r} begins afresh: {reason_of(session.error)}"
        self._said.say(f"stored session {session.session_id!r}", session.error)
        digest = xxhash.xxh3_64_intdigest(session.session_id.encode() + session.raw)
        source = f"sessions:{partition}:{digest}"  # a batch that comes again writes it once
        return DeadLetter(source, partition, BAD_SESSION, detail, now_ms, session.raw)


def _counts(decoded: DecodedBatch, folded: FoldedBatch, *, dead_lettered: int, begun_afresh: int) -> dict[str, int]:
    outcomes = [outcome for one in folded.foldeds for outcome in one.outcomes]
    counts = {
        Outcome.APPLIED.value: outcomes.count(Outcome.APPLIED),
        Outcome.DUPLICATE.value: outcomes.count(Outcome.DUPLICATE),
        DEAD_LETTERED: dead_lettered,
        IMPRESSIONS: decoded.impressions,
        BEGUN_AFRESH: begun_afresh,
    }
    return {name: n for name, n in counts.items() if n}
