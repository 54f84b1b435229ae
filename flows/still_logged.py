"""Whether a Redis log still holds what was read: one whose machine died, or that was killed while its disk was full,
comes back without its last records, and takes others in their place. Whoever waited with those in hand must not apply
them under the offsets of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from contracts.errors import OffsetTrimmed
from contracts.settings import LogSettings
from eventlog.contract import Batch, LogReader, Message
from flows.apply_once import StillLogged, always_logged

OpenReader = Callable[[Sequence[int]], LogReader]


def still_logged(log: LogSettings, open_reader: OpenReader) -> StillLogged:
    """Return what looks; Kafka loses nothing that it acknowledged, and shows nothing else."""
    return _Look(open_reader) if log.kind == "redis" else always_logged


class _Look:
    def __init__(self, open_reader: OpenReader) -> None:
        self._open_reader = open_reader

    def __call__(self, batch: Batch) -> bool:
        reader = self._open_reader([batch.partition])
        try:
            return _records_of(reader, batch) == list(batch.messages)
        except OffsetTrimmed:
            return False
        finally:
            reader.close()


def _records_of(reader: LogReader, batch: Batch) -> list[Message]:
    """Return as many records from a batch's first one on."""
    found: list[Message] = []
    if batch.messages:
        reader.seek(batch.partition, batch.messages[0].offset)
    while len(found) < len(batch.messages):
        more = reader.poll(len(batch.messages) - len(found), 0.0)
        if not more:
            break
        found += more[0].messages
    return found
