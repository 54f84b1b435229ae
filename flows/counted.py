"""What a process of a flow counts, and its `/metrics` where they are shown."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

from contracts.figures import Figures
from contracts.observed import MetricsOptions, serve_metrics
from eventlog.contract import Batch, DeadLetter, LogWriter, Position, Record, Topic
from eventlog.open_log import open_writer
from flows.outage import OUTAGE
from flows.settings import FlowSettings

FIGURES: Final = Figures("nextclick_flow_")
_letters = FIGURES.counter("dead_letters", "Dead letters that this process wrote, by reason.", "flow", "reason")
_read = FIGURES.counter("records_read", "Records that this process read; what is read again counts again.", "topic")
_read_at = FIGURES.gauge("read_timestamp_seconds", "When this process last read a record.", "topic")
_waits = FIGURES.gauge("waiting", "1 while this process waits for Redis or the log.")
_started_at = FIGURES.gauge("started_timestamp_seconds", "When this process was wired.", "flow")
FIGURES.before(lambda: _waits.set(float(OUTAGE.lasts)))


class CountedWriter:
    """LogWriter that counts what it wrote of dead letters; the rest is the other writer's."""

    def __init__(self, flow: str, writer: LogWriter) -> None:
        self._flow, self._writer = flow, writer

    def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        return self._writer.append(topic, records)

    def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        """As LogWriter says. A letter that is written again, after a death or an outage, counts again."""
        self._writer.dead_letter(letters)
        for letter in letters:
            _letters.add(1, self._flow, letter.reason)

    def close(self) -> None:
        self._writer.close()


def open_counted_writer(flow: str, settings: FlowSettings) -> LogWriter:
    """Open the log as `open_writer` does; what is written of dead letters is counted and, by setting, shown."""
    serve(flow, settings)
    return CountedWriter(flow, open_writer(settings.log, settings.redis))


def count_read(batches: Iterable[Batch]) -> None:
    """Count what one reading gave."""
    for batch in batches:
        if batch.messages:
            _read.add(len(batch.messages), batch.topic)
            _read_at.set(time.time(), batch.topic)


def serve(flow: str, settings: FlowSettings) -> int | None:
    """Serve what this process counts, by `flow.metrics_port` or else `metrics.port`. Raises as `serve_metrics`."""
    _started_at.set(time.time(), flow)
    own = settings.flow
    if own.metrics_port:
        options = MetricsOptions(port=own.metrics_port, host=own.metrics_host)
        return serve_metrics(flow, options, FIGURES, named="FLOW")
    return serve_metrics(flow, settings.metrics, FIGURES)
