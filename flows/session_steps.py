"""What the sessions flow does to a micro-batch: decode, fold, embed, and commit with the offset. No Bytewax here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from contracts.errors import StateConflict
from contracts.events import NO_CONSENT, Rejection
from contracts.left_out import LeftOutLog, reason_of
from contracts.plain_events import NO_TYPES, decode_event, read_as
from eventlog.contract import Batch, DeadLetter, LogWriter, Message
from flows.read_record import read_record
from session_model.embedding import Encoder, ItemVectors, embed_arrays
from session_model.fold_arrays import OUTCOMES, ClickArrays, FoldedArrays, LoggedClick, fold_arrays, logged_click
from session_model.window import Outcome, WindowRules
from state.session_arrays import Numbers
from state.sessions import Change, LoadedArrays, SessionStore, Unreadable

log = logging.getLogger(__name__)

BAD_SESSION = "bad_session"
"""Reason of a stored session that cannot be read: it begins afresh."""
BEGUN_AFRESH = "begun_afresh"
DEAD_LETTERED = "dead_lettered"
IMPRESSIONS = "impressions"
LATE = Rejection("late", "older than the idle gap behind its partition's newest click: its session has closed")
_APPLIED, _DUPLICATE, _LATE = map(OUTCOMES.index, (Outcome.APPLIED, Outcome.DUPLICATE, Outcome.LATE))


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """A batch's clicks in log order, what could not be read, and how many impressions it passed by."""

    batch: Batch
    clicks: Sequence[LoggedClick]
    rejected: Sequence[DeadLetter]
    impressions: int


def decode_batch(batch: Batch, *, now_ms: int, max_future_ms: int, types: Mapping[str, str] = NO_TYPES) -> DecodedBatch:
    """Decode and validate every message; what fails becomes a dead letter with its reason, and what says that its
    visitor did not consent is passed by. `types`: what types of the site's own mean."""
    clicks: list[LoggedClick] = []
    rejected: list[DeadLetter] = []
    impressions = 0

    def click(message: Message) -> LoggedClick | Rejection | None:
        event = decode_event(message.value, now_ms=now_ms, max_future_ms=max_future_ms)
        if isinstance(event, Rejection):
            return event
        return None if event.is_impression else logged_click(message.offset, read_as(event, types))

    for message in batch.messages:
        found = read_record(click, message)
        if isinstance(found, tuple):
            clicks.append(found)
        elif found is None:
            impressions += 1
        elif found is not NO_CONSENT:
            rejected.append(batch.letter(message.offset, message.value, found, now_ms=now_ms))
    return DecodedBatch(batch, clicks, rejected, impressions)


def late_letters(batch: Batch, late: Collection[int], *, now_ms: int) -> list[DeadLetter]:
    """Return the dead letters of a batch's clicks at the offsets `late`, which came too late."""
    return [
        batch.letter(message.offset, message.value, LATE, now_ms=now_ms)
        for message in (batch.messages if late else ())
        if message.offset in late
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

    def switch(self, encoder: Encoder, item_vectors: ItemVectors) -> None:
        """Encode with another model from the next batch on: stored states of the one before are made again."""
        self._encoder, self._item_vectors = encoder, item_vectors

    def apply(self, decoded: DecodedBatch, letters: Sequence[DeadLetter] = ()) -> None:
        """Apply one batch as `apply_all` does, and write `letters` with it. Raises StateConflict."""
        [conflict] = self.apply_all([decoded], letters)
        if conflict is not None:
            raise conflict

    def apply_all(
        self, batches: Sequence[DecodedBatch], letters: Sequence[DeadLetter] = ()
    ) -> list[StateConflict | None]:
        """Fold, embed, write dead letters (`letters` among the first batch's), then commit each batch's sessions and
        offset together. The batches are of different partitions.

        A stored session that cannot be read becomes a dead letter (`bad_session`) and begins afresh. Of a batch that
        does not start at the stored offset nothing but (idempotent) dead letters is written. Returns each batch's
        conflict, None where it was committed.

        Raises StateUnavailable or LogUnavailable: call again with the same batches.
        """
        clicks = ClickArrays.of([decoded.clicks for decoded in batches])
        loaded = self._load(batches, clicks)
        refused = [_conflict(one.batch, at) for one, at in zip(batches, loaded.next_offsets, strict=True)]
        if any(refused):
            in_place = [decoded for decoded, conflict in zip(batches, refused, strict=True) if conflict is None]
            done = iter(self.apply_all(in_place, letters) if in_place else ())
            return [conflict if conflict is not None else next(done) for conflict in refused]
        watermarks, reached_ms = clicks.watermarks(loaded.watermarks_ms, self._clock_ms())
        folded = fold_arrays(clicks, loaded.sessions, self._rules, watermarks)
        changed = embed_arrays(self._encoder, self._item_vectors, loaded.sessions, folded)
        changes, lost_ones = self._changes(batches, clicks, loaded, folded, changed, reached_ms, letters)
        if lost_ones:
            self._writer.dead_letter(lost_ones)
        return self._store.commit_all(changes)

    def _load(self, batches: Sequence[DecodedBatch], clicks: ClickArrays) -> LoadedArrays:
        encoder = self._encoder
        return self._store.load_arrays(
            [(decoded.batch.partition, names) for decoded, names in zip(batches, clicks.names, strict=True)],
            text=clicks.text,
            room=self._rules.max_events,
            width=encoder.width if encoder is not None else 0,
            version=encoder.version if encoder is not None else 0,
        )

    def _changes(
        self,
        batches: Sequence[DecodedBatch],
        clicks: ClickArrays,
        loaded: LoadedArrays,
        folded: FoldedArrays,
        changed: Numbers,
        reached_ms: Sequence[int],
        letters: Sequence[DeadLetter],
    ) -> tuple[list[Change], list[DeadLetter]]:
        """Return what is to be committed of each batch, and the dead letters of all."""
        now_ms, records, changes = self._clock_ms(), [], []
        encoded = dict(zip(changed.tolist(), loaded.sessions.encoded(changed), strict=True))
        by_outcome = _by_outcome(clicks, folded)
        first = 0
        for part, decoded in enumerate(batches):
            batch, names = decoded.batch, clicks.names[part]
            late = _late_offsets(clicks, folded, part) if by_outcome[part][_LATE] else ()
            too_late = late_letters(batch, late, now_ms=now_ms)
            own = [*decoded.rejected, *too_late, *(letters if part == 0 else ())]
            lost = [self._lost(batch.partition, one, now_ms) for one in loaded.unreadable[part]]
            records += own + lost
            sessions = {name: encoded[at] for at, name in enumerate(names, first) if at in encoded}
            counts = _counts(decoded, by_outcome[part], dead_lettered=len(own), begun_afresh=len(lost))
            changes.append(Change(batch.partition, batch.start, batch.next, reached_ms[part], sessions, counts))
            first += len(names)
        return changes, records

    def _lost(self, partition: int, session: Unreadable, now_ms: int) -> DeadLetter:
        """Return the dead letter of a stored session, and say it."""
        detail = f"session {session.session_id!r} begins afresh: {reason_of(session.error)}"
        self._said.say(f"stored session {session.session_id!r}", session.error)
        digest = xxhash.xxh3_64_intdigest(session.session_id.encode() + session.raw)
        source = f"sessions:{partition}:{digest}"  # a batch that comes again writes it once
        return DeadLetter(source, partition, BAD_SESSION, detail, now_ms, session.raw)


def _conflict(batch: Batch, stored: int) -> StateConflict | None:
    return None if batch.start == stored else StateConflict(f"partition {batch.partition}", batch.start, stored)


def _by_outcome(clicks: ClickArrays, folded: FoldedArrays) -> list[list[int]]:
    """Return how many clicks of each partition had which of OUTCOMES."""
    parts = len(clicks.begins) - 1
    part = np.repeat(np.arange(parts), np.diff(clicks.begins))
    counts = np.bincount(len(OUTCOMES) * part + folded.outcomes, minlength=len(OUTCOMES) * parts)
    found: list[list[int]] = counts.reshape(parts, len(OUTCOMES)).tolist()
    return found


def _late_offsets(clicks: ClickArrays, folded: FoldedArrays, part: int) -> set[int]:
    """Return the offsets of a partition's clicks that came too late."""
    mine = slice(clicks.begins[part], clicks.begins[part + 1])
    return set(clicks.offsets[mine][folded.outcomes[mine] == _LATE].tolist())


def _counts(
    decoded: DecodedBatch, by_outcome: Sequence[int], *, dead_lettered: int, begun_afresh: int
) -> dict[str, int]:
    counts = {
        Outcome.APPLIED.value: by_outcome[_APPLIED],
        Outcome.DUPLICATE.value: by_outcome[_DUPLICATE],
        DEAD_LETTERED: dead_lettered,
        IMPRESSIONS: decoded.impressions,
        BEGUN_AFRESH: begun_afresh,
    }
    return {name: n for name, n in counts.items() if n}
