"""Who was erased, as a flow knows it: open sessions are let go of, and of a log that keeps what it was given (Kafka)
their records are passed by.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from contracts.errors import StateUnavailable
from contracts.settings import ServiceSettings
from eventlog.contract import Batch, LogReader, Topic
from eventlog.open_log import open_reader
from rights.erasure import ErasedNames, Told, decode_erasure, erased_names, told_in
from state.erasures import ErasureStore
from state.presence import this_process

LOOK_S: Final = 2.0
"""How old the list may be."""
ACTED_S: Final = 6.0
"""So long after a change every partition has met it: also those of which nothing comes."""
_NOBODY: Final = ErasedNames()

Erased = Callable[[], ErasedNames]


def nobody_erased() -> ErasedNames:
    """What is known where nobody asks."""
    return _NOBODY


class ErasedList:
    """Who was erased, some seconds old at most: the same object while it is the same. For one process.

    What cannot be asked now stays as it was: nobody waits for this. An erasure waits until `kind` told that it acted.
    """

    def __init__(
        self, settings: ServiceSettings, kind: str, clock_s: Callable[[], float] = time.monotonic, tells: bool = True
    ) -> None:
        self._store = ErasureStore(settings.redis)
        self._process, self._clock_s, self._tells = this_process(kind, 0).name, clock_s, tells
        self._looked_s, self._number, self._told, self._changed_s = -LOOK_S, 0, 0, 0.0
        self._names = _NOBODY

    def __call__(self) -> ErasedNames:
        now_s = self._clock_s()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            with suppress(StateUnavailable):
                self._look(now_s)
        return self._names

    def _look(self, now_s: float) -> None:
        if (number := self._store.number()) != self._number:
            found = []
            for raw in self._store.all().values():
                with suppress(ValueError):
                    found.append(decode_erasure(raw))
            self._names = erased_names(self._store.secret(), found)
            self._number, self._changed_s = number, now_s
        if self._tells and self._told != self._number and now_s - self._changed_s >= ACTED_S:
            self._store.tell(self._process, self._number)
            self._told = self._number


class PassesByErased:
    """A LogReader that leaves out records of the past of somebody who was erased."""

    def __init__(self, reader: LogReader, erased: Erased) -> None:
        self._reader, self._erased = reader, erased
        self.connections = reader.connections

    def seek(self, partition: int, offset: int) -> None:
        self._reader.seek(partition, offset)

    def poll(self, max_records: int, max_wait_s: float) -> list[Batch]:
        batches, names = self._reader.poll(max_records, max_wait_s), self._erased()
        self.connections = self._reader.connections
        return [_without(batch, names) for batch in batches] if names else batches

    def ends(self) -> Mapping[int, int]:
        return self._reader.ends()

    def earliest(self) -> Mapping[int, int]:
        return self._reader.earliest()

    def commit(self, partition: int, next_offset: int) -> None:
        self._reader.commit(partition, next_offset)

    def hold(self, partition: int, offset: int) -> None:
        self._reader.hold(partition, offset)

    def close(self) -> None:
        self._reader.close()


def _without(batch: Batch, names: ErasedNames) -> Batch:
    def covers(told: Told | None) -> bool:
        return told is not None and names.covers(told.session_id, told.user_id, told.ts_ms)

    return replace(batch, messages=[one for one in batch.messages if not covers(told_in(one.value))])


def open_visitors_log(settings: ServiceSettings, topic: Topic, partitions: Sequence[int], group: str) -> LogReader:
    """Open partitions of a topic for a flow; of Kafka without the records of those who were erased."""
    reader = open_reader(settings.log, settings.redis, topic, partitions, group)
    if settings.log.kind == "redis":
        return reader  # they are empty there
    return PassesByErased(reader, ErasedList(settings, group, tells=False))
