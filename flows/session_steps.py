"""What the sessions flow does to a micro-batch: decode, fold, embed, and commit with the offset. No Bytewax here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contracts.errors import StateConflict
from contracts.events import Event, Rejection, decode_event
from contracts.sessions import Session
from eventlog.contract import Batch, DeadLetter, LogWriter
from session_model.embedding import Encoder, ItemVectors, embed
from session_model.window import Arrival, Folded, Outcome, WindowRules, click_of, fold
from state.sessions import Loaded, SessionStore

DEAD_LETTERED = "dead_lettered"
IMPRESSIONS = "impressions"
LATE = Rejection("late", "older than the idle gap behind its partition's newest click: its session has closed")


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """A batch's clicks (offset, event) in log order, what could not be read, and how many impressions it passed by."""

    batch: Batch
    clicks: Sequence[tuple[int, Event]]
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
    clicks: list[tuple[int, Event]] = []
    rejected: list[DeadLetter] = []
    impressions = 0
    for message in batch.messages:
        event = decode_event(message.value, now_ms=now_ms, max_future_ms=max_future_ms)
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

    def apply(self, decoded: DecodedBatch) -> None:
        """Fold, embed, write dead letters, then commit sessions and offset together.

        Raises StateConflict when the batch does not start at the stored offset: nothing but (idempotent) dead
        letters was written. Raises StateUnavailable or LogUnavailable: call again with the same batch.
        """
        batch = decoded.batch
        names = list(dict.fromkeys(event.session_id for _, event in decoded.clicks))
        loaded = self._store.load(batch.partition, names)
        if loaded.next_offset != batch.start:
            raise StateConflict(f"partition {batch.partition}", batch.start, loaded.next_offset)
        folded = fold_batch(decoded, loaded, self._rules, now_ms=self._clock_ms())
        sessions = embed(self._encoder, self._item_vectors, folded.befores, folded.foldeds)
        letters = [*decoded.rejected, *folded.late]
        if letters:
            self._writer.dead_letter(letters)
        self._store.commit(
            batch.partition,
            start=batch.start,
            next=batch.next,
            watermark_ms=folded.watermark_ms,
            sessions=sessions,
            counts=_counts(decoded, folded),
        )


def _counts(decoded: DecodedBatch, folded: FoldedBatch) -> dict[str, int]:
    outcomes = [outcome for one in folded.foldeds for outcome in one.outcomes]
    counts = {
        Outcome.APPLIED.value: outcomes.count(Outcome.APPLIED),
        Outcome.DUPLICATE.value: outcomes.count(Outcome.DUPLICATE),
        DEAD_LETTERED: len(decoded.rejected) + len(folded.late),
        IMPRESSIONS: decoded.impressions,
    }
    return {name: n for name, n in counts.items() if n}
