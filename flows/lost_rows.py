"""A source that tells when the trends table may have lost its rows: once at the start, and when Redis was emptied or
restored from older files. The counters of every shard then write theirs again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from contracts.errors import StateUnavailable
from flows.trend_steps import WriteAgain
from state.table_pulse import TablePulse
from state.tables import TableReader

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 2.0
_AWAKE_EVERY = timedelta(milliseconds=50)
"""Bytewax ends an epoch of a source when it is awake, and spins until all sources have: for two seconds, once."""


class LostRowsSource(FixedPartitionedSource[WriteAgain, None]):
    """One partition, so one process of the flow looks for all."""

    def __init__(self, open_pulse: Callable[[], TablePulse], open_table: Callable[[], TableReader]) -> None:
        self._open_pulse, self._open_table = open_pulse, open_table

    def list_parts(self) -> list[str]:
        return ["tables"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _Look:
        return _Look(self._open_pulse(), self._open_table())


class _Look(StatefulSourcePartition[WriteAgain, None]):
    def __init__(self, pulse: TablePulse, table: TableReader) -> None:
        self._pulse, self._table = pulse, table
        self._awake, self._look_s = datetime.now(UTC), 0.0
        self._is_new, self._lost, self._is_gone = True, False, False

    def next_batch(self) -> list[WriteAgain]:
        self._awake = datetime.now(UTC) + _AWAKE_EVERY
        if time.monotonic() < self._look_s:
            return []
        self._look_s = time.monotonic() + _LOOK_EVERY_S
        try:
            self._lost = self._pulse.beat() or self._lost
            self._is_gone = self._pulse.is_gone or self._is_gone
            if not self._lost:
                return []
            told = WriteAgain(self._table.keys())
        except StateUnavailable:  # whoever reads and writes says so
            return []
        if self._is_gone:
            log.error("the trends table went back: Redis was emptied, or restored from older files; writing it again")
        elif not self._is_new:
            log.info("Redis was away, and the trends table may lack its last rows: writing it again")
        self._is_new = self._lost = self._is_gone = False
        return [told]

    def next_awake(self) -> datetime:
        return self._awake

    def snapshot(self) -> None:
        return None

    def close(self) -> None:
        self._pulse.close()
        self._table.close()
