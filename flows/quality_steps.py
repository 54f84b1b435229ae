"""What the quality flow does to a micro-batch: read it, count it, commit. No Bytewax here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import StateConflict
from contracts.events import NO_CONSENT, Rejection
from contracts.ids import item_key
from contracts.plain_events import PlainEvent, decode_event
from eventlog.contract import Batch, DeadLetter, LogWriter
from flows.read_record import read_record
from quality.tally import Counted, Tally
from state.quality import Place, QualityStore

Holds = Callable[[NDArray[np.uint64]], NDArray[np.bool_]]
"""Says which keys (n,) the catalogue has, (n,)."""
REMEMBERED: Final = 100_000
ASK_AGAIN_MS: Final = 600_000
"""What the catalogue had is asked for again after so long: items are deleted."""


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """A batch, and what its records say, in log order."""

    batch: Batch
    records: Sequence[PlainEvent | Rejection]
    now_ms: int


def decode_records(batch: Batch, *, now_ms: int, max_future_ms: int) -> RecordBatch:
    """Read the records; what cannot be read is counted as such, what says that nobody consented is not counted."""

    def event(raw: bytes) -> PlainEvent | Rejection:
        return decode_event(raw, now_ms=now_ms, max_future_ms=max_future_ms)

    found = [read_record(event, message.value) for message in batch.messages]
    return RecordBatch(batch, [one for one in found if one is not NO_CONSENT], now_ms)


class KnownItems:
    """Which clicked ids the catalogue has: asked of Redis for those not asked lately. Bounded; for one thread."""

    def __init__(self, holds: Holds, clock_ms: Callable[[], int]) -> None:
        self._holds, self._clock_ms = holds, clock_ms
        self._known: OrderedDict[str, int] = OrderedDict()

    def __call__(self, item_ids: Collection[str]) -> Collection[str]:
        """Return those that it has. Raises StateUnavailable."""
        now_ms = self._clock_ms()
        asked = [one for one in item_ids if now_ms - self._known.get(one, -ASK_AGAIN_MS) >= ASK_AGAIN_MS]
        if asked:
            held = self._holds(np.array([item_key(one) for one in asked], np.uint64))
            for one, is_held in zip(asked, held.tolist(), strict=True):
                self._known.pop(one, None)
                if is_held:
                    self._known[one] = now_ms
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return {one for one in item_ids if one in self._known}


class QualityPath:
    """Applies micro-batches: each record is counted once, whoever else counts the same partition.

    Ids and sessions are remembered by this process alone, and afresh where a batch does not follow the one before.
    """

    def __init__(
        self, *, store: QualityStore, writer: Callable[[], LogWriter], tally: Tally, known: KnownItems
    ) -> None:
        """`writer` opens the log for dead letters, when the first is written."""
        self._store, self._writer, self._tally, self._known = store, writer, tally, known
        self._places: dict[int, Place] = {}
        self._waiting: tuple[RecordBatch, Counted] | None = None
        """What was counted, and is not written yet."""

    def apply(self, decoded: RecordBatch, letters: Sequence[DeadLetter] = ()) -> None:
        """Count a batch. Raises StateUnavailable or LogUnavailable: call again with the same batch; StateConflict where
        the batch does not begin at what was counted.
        """
        if letters:
            self._writer().dead_letter(letters)
        batch = decoded.batch
        counted = self._counted(decoded)
        place = Place(batch.next, counted.newest_ms)
        try:
            self._store.commit(batch.partition, batch.start, place, counted.cells, counted.bots)
        except StateConflict:
            self._begin_afresh()
            raise
        self._places[batch.partition], self._waiting = place, None

    def _counted(self, decoded: RecordBatch) -> Counted:
        """Return what a batch adds: as before, where it was counted and could not be written."""
        if self._waiting is not None and self._waiting[0] is decoded:
            return self._waiting[1]
        place = self._places.get(decoded.batch.partition)
        if self._waiting is not None or (place is not None and place.next_offset != decoded.batch.start):
            self._begin_afresh()
            place = None
        newest_ms = (place or self._store.place(decoded.batch.partition)).newest_ms
        held = self._known({one.item_id for one in decoded.records if isinstance(one, PlainEvent) and one.item_id})
        counted = self._tally.count(decoded.records, newest_ms, decoded.now_ms, held)
        self._waiting = decoded, counted
        return counted

    def _begin_afresh(self) -> None:
        self._tally.forget()
        self._places, self._waiting = {}, None
