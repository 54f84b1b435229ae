"""What a builder does with an object store: start from its copy, push what was built, or only follow what others do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from contracts.errors import ArtifactError, SettingsError
from contracts.outage import Outage
from contracts.settings import IndexSettings
from retrieval.snapshot import read_pointer
from retrieval.snapshot_store import SnapshotStore

log = logging.getLogger("nextclick.builder")


class SnapshotCopies:
    """Looks every `index.store_check`. What the store does not take or give is said, and tried again: a builder builds
    on without it.
    """

    def __init__(
        self, store: SnapshotStore, options: IndexSettings, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._options, self._clock_s = store, options, clock_s
        self._folder = Path(options.folder)
        self._looked_s = -options.store_check.total_seconds()
        self._outage = Outage(log, "the store of snapshots: ")
        self._known: str | None = None
        """What served here when both were alike."""

    def look(self, tower: int) -> None:
        """Fetch or push what the other side lacks. Where nothing serves here yet, the store is looked at at once."""
        now_s = self._clock_s()
        if now_s - self._looked_s < self._options.store_check.total_seconds():
            return
        self._looked_s = now_s
        try:
            self._exchange(tower)
            self._outage.over()
        except (ArtifactError, OSError) as error:
            self._outage.failed(error)

    def _exchange(self, tower: int) -> None:
        here = read_pointer(self._folder).current
        if self._options.from_store or here is None:
            if (name := self._store.pull(self._folder, tower=tower)) is not None:
                log.info("serving snapshot %s from %s", name, self._store.url)
                self._known = name
        elif here != self._known:
            if (name := self._store.push(self._folder)) is not None:
                log.info("pushed snapshot %s to %s", name, self._store.url)
            self._known = here


def copies_of(options: IndexSettings) -> SnapshotCopies | None:
    """Return the exchange with `index.store`; None without one. Raises SettingsError."""
    if options.store:
        return SnapshotCopies(SnapshotStore(options.store), options)
    if options.from_store:
        raise SettingsError("index.from_store: expected index.store beside it, got none: name the object store")
    return None
