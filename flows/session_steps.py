"""What the sessions flow does to a micro-batch: decode, fold, embed, and commit with the offset. No Bytewax here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import xxhash

from contracts.errors import StateConflict
from contracts.events import Rejection
from contracts.left_out import LeftOutLog, reason_of
from contracts.plain_events import PlainEvent, decode_event
from eventlog.contract import Batch, DeadLetter, LogWriter
from flows.read_record import read_record
from session_model.embedding import Encoder, ItemVectors, embed_arrays
from session_model.fold_arrays import OUTCOMES, ClickArrays, FoldedArrays, fold_arrays
from session_model.window import Outcome, WindowRules
from state.sessions import SessionStore, Unreadable

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


def late_letters(decoded: DecodedBatch, clicks: ClickArrays, folded: FoldedArrays, *, now_ms: int) -> list[DeadLetter]:
    """Return the dead letters of the clicks that came too late."""
    offsets = set(clicks.offsets[folded.outcomes == OUTCOMES.index(Outcome.LATE)].tolist())
    return [
        decoded.batch.letter(message.offset, message.value, LATE, now_ms=now_ms)
        for message in (decoded.batch.messages if offsets else ())
        if message.offset in offsets
    ]


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
        batch, encoder = decoded.batch, self._encoder
        clicks = ClickArrays.of(decoded.clicks)
        loaded = self._store.load_arrays(
            batch.partition,
            clicks.names,
            text=clicks.text,
            room=self._rules.max_events,
            width=encoder.width if encoder is not None else 0,
            version=encoder.version if encoder is not None else 0,
        )
        if loaded.next_offset != batch.start:
            raise StateConflict(f"partition {batch.partition}", batch.start, loaded.next_offset)
        now_ms, sessions = self._clock_ms(), loaded.sessions
        folded = fold_arrays(clicks, sessions, self._rules, loaded.watermark_ms)
        changed = embed_arrays(encoder, self._item_vectors, sessions, folded)
        records = [*decoded.rejected, *late_letters(decoded, clicks, folded, now_ms=now_ms), *letters]
        lost = [self._lost(batch.partition, one, now_ms) for one in loaded.unreadable]
        if records or lost:
            self._writer.dead_letter([*records, *lost])
        names = [clicks.names[at] for at in changed.tolist()]
        self._store.commit_encoded(
            batch.partition,
            start=batch.start,
            next=batch.next,
            watermark_ms=int(clicks.watermarks(loaded.watermark_ms)[-1]),
            sessions=dict(zip(names, sessions.encoded(changed), strict=True)),
            counts=_counts(decoded, folded, dead_lettered=len(records), begun_afresh=len(lost)),
        )

    def _lost(self, partition: int, session: Unreadable, now_ms: int) -> DeadLetter:
        """Return the dead letter of a stored session, and say it."""
        detail = f"session {session.session_id!r} begins afresh: {reason_of(session.error)}"
        self._said.say(f"stored session {session.session_id!r}", session.error)
        digest = xxhash.xxh3_64_intdigest(session.session_id.encode() + session.raw)
        source = f"sessions:{partition}:{digest}"  # a batch that comes again writes it once
        return DeadLetter(source, partition, BAD_SESSION, detail, now_ms, session.raw)


def _counts(decoded: DecodedBatch, folded: FoldedArrays, *, dead_lettered: int, begun_afresh: int) -> dict[str, int]:
    by_outcome = dict(zip(OUTCOMES, np.bincount(folded.outcomes, minlength=len(OUTCOMES)).tolist(), strict=True))
    counts = {
        Outcome.APPLIED.value: by_outcome[Outcome.APPLIED],
        Outcome.DUPLICATE.value: by_outcome[Outcome.DUPLICATE],
        DEAD_LETTERED: dead_lettered,
        IMPRESSIONS: decoded.impressions,
        BEGUN_AFRESH: begun_afresh,
    }
    return {name: n for name, n in counts.items() if n}
