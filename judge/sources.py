"""What the judge reads of the stream: units of experiments, and how far both topics are counted."""

from __future__ import annotations

import logging

from attribution.participants import Participants, tabled
from attribution.rows import Row, decode_row
from contracts.assignment import HOLDOUT
from contracts.experiments import ExperimentVersion
from contracts.left_out import LeftOutLog
from contracts.settings import ServiceSettings
from eventlog.contract import Topic
from eventlog.open_log import open_reader
from state.attribution import AttributionStore
from state.experiment_rows import ExperimentRows

log = logging.getLogger("nextclick.judge")

TOPICS = (Topic.CLICKS, Topic.IMPRESSIONS)
_NO_HOUR = -1


class StoredSources:
    """What the attribution flow keeps in Redis. For one thread. Raises StateUnavailable, LogUnavailable."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._rows = ExperimentRows(settings.redis)
        self._store = AttributionStore(settings.redis, unit_ms=1, max_cells=1)  # it writes nothing
        self._left_out = LeftOutLog(log)
        self._readers = [
            open_reader(settings.log, settings.redis, topic, range(settings.log.partitions), "judge")
            for topic in TOPICS
        ]

    def units(self, version: ExperimentVersion) -> Participants:
        """Return the units of a run. Rows that do not decode are left out, and said once."""
        rows: dict[str, Row] = {}
        for name, raw in self._rows.rows(version.name, version.experiment.unit).items():
            try:
                rows[name] = decode_row(raw)
            except ValueError as error:
                self._left_out.say(f"a unit of the experiment {version.name}", error)
        return tabled(rows, holdout=HOLDOUT, testers=version.experiment.overrides, since_ms=version.started_ms)

    def ends(self) -> dict[str, int]:
        return {
            f"{topic}:{partition}": end
            for topic, reader in zip(TOPICS, self._readers, strict=True)
            for partition, end in reader.ends().items()
        }

    def counted(self) -> dict[str, int]:
        return dict(self._store.ledger(_NO_HOUR, _NO_HOUR).offsets)

    def close(self) -> None:
        self._rows.close()
        self._store.close()
        for reader in self._readers:
            reader.close()
