"""The published experiments, read from their table."""

from __future__ import annotations

import logging

from contracts.experiment_rows import decode, document_name, is_experiment, row_key_of
from contracts.experiments import ExperimentVersion
from contracts.keys import SCENARIOS
from contracts.left_out import LeftOutLog
from contracts.settings import RedisSettings
from state.documents import DocumentStore
from state.tables import TableReader

log = logging.getLogger("nextclick.judge")


class Published:
    """For one thread. Raises StateUnavailable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._table, self._documents = TableReader(settings, SCENARIOS), DocumentStore(settings, SCENARIOS)
        self._left_out = LeftOutLog(log)
        self._end = -1
        self._newest: dict[str, ExperimentVersion] = {}
        self._runs: dict[tuple[str, int], list[ExperimentVersion]] = {}

    def all(self) -> list[ExperimentVersion]:
        """Return the newest version of every experiment, as the table has it now. What does not decode is left out."""
        self._end = self._table.end()
        found: dict[str, ExperimentVersion] = {}
        for rows in self._table.rows():
            for key, row in rows:
                if is_experiment(row):
                    self._take(found, int.from_bytes(key, "little"), row)
        self._newest = found
        return self.known()

    def known(self) -> list[ExperimentVersion]:
        """Return what `all` read last, read again where anything was published since: one question to Redis."""
        if self._end != self._table.end():
            return self.all()
        return [self._newest[name] for name in sorted(self._newest)]

    def get(self, name: str) -> ExperimentVersion | None:
        """Return the newest version of an experiment, from Redis."""
        key = row_key_of(name)
        [row] = self._table.get([key.to_bytes(8, "little")])
        found: dict[str, ExperimentVersion] = {}
        if row is not None:
            self._take(found, key, row)
        return found.get(name)

    def versions(self, version: ExperimentVersion) -> list[ExperimentVersion]:
        """Return the versions of an experiment that are kept, up to this one."""
        about = version.name, version.version
        if about not in self._runs:
            found: list[ExperimentVersion] = []
            for row in self._documents.versions(document_name(version.name)):
                try:
                    found.append(decode(row_key_of(version.name), row))
                except ValueError as error:
                    self._left_out.say(f"a version of the experiment {version.name}", error)
            self._runs = {key: one for key, one in self._runs.items() if key[0] != version.name} | {about: found}
        return self._runs[about]

    def close(self) -> None:
        self._table.close()
        self._documents.close()

    def _take(self, found: dict[str, ExperimentVersion], key: int, row: bytes) -> None:
        try:
            version = decode(key, row)
        except ValueError as error:
            self._left_out.say(f"the experiment in row {key:016x}", error)
            return
        found[version.name] = version
