"""Writes that change nothing, one for each server that should take writes: whether each of them does."""

from __future__ import annotations

from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.cluster_map import cluster_map
from state.slots import tags_of


class Probes:
    """Of a cluster, by the table of slots as it is each time: a primary may lose its slots, and another get some."""

    def __init__(self, settings: RedisSettings) -> None:
        self._keys = Keys(settings.prefix)
        self._table = cluster_map(settings) if settings.is_cluster else None
        self._commands = self._of([""])
        self._version = 0

    @property
    def are_known(self) -> bool:
        """Tell whether the servers are: those of a cluster are read first."""
        return self._table is None or self._table.version > 0

    def read(self) -> None:
        """Read which primaries there are. Raises redis.ConnectionError."""
        if self._table is not None:
            self._table.read()

    def commands(self) -> list[tuple[bytes, ...]]:
        """Return commands for one round trip; a server that takes no writes refuses its own."""
        if self._table is not None and self._version != self._table.version:
            self._version = self._table.version
            self._commands = self._of(tags_of(self._table.owners))
        return self._commands

    def _of(self, tags: list[str]) -> list[tuple[bytes, ...]]:
        """SETRANGE by nothing, of what is not there: changes nothing."""
        return [(b"SETRANGE", self._keys.probe(tag).encode(), b"0", b"") for tag in tags]
