"""The item tower that items are embedded with: that of the snapshot which serves, also when it changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from contracts.errors import ArtifactError
from contracts.settings import ServiceSettings
from retrieval.snapshot import read_manifest, read_pointer
from session_model import artifact
from session_model.general import general_version
from session_model.item_tower import ItemTower
from session_model.serving import load_tower

log = logging.getLogger(__name__)


class ServingTower:
    """Loaded from the artifacts, and again when a snapshot of another tower serves and the artifacts hold that one.

    Gateways change their models in the moment in which such a snapshot is published, and no sooner: before that, rows
    of the newer tower would have no vector for them. Looks once in `index.check`. For one thread.
    """

    def __init__(self, settings: ServiceSettings, clock_ms: Callable[[], int]) -> None:
        self._settings, self._clock_ms = settings, clock_ms
        self._tower = load_tower(settings.artifacts, settings.text_model)
        self._every_ms = int(1000 * settings.index.check.total_seconds())
        self._looked_ms = clock_ms()

    def __call__(self) -> ItemTower:
        """Return the tower to embed with now."""
        now_ms = self._clock_ms()
        if self._settings.index.folder and now_ms - self._looked_ms >= self._every_ms:
            self._looked_ms = now_ms
            self._tower = self._newer(self._tower)
        return self._tower

    def _newer(self, tower: ItemTower) -> ItemTower:
        folder = Path(self._settings.index.folder)
        try:
            name = read_pointer(folder).current
            served = tower.version if name is None else read_manifest(folder / name).tower
            if served == tower.version or self._trained() != served:
                return tower
            found = load_tower(self._settings.artifacts, self._settings.text_model)
        except ArtifactError as error:
            log.warning("embedding with tower %016x on: %s", tower.version, error)
            return tower
        log.info("embedding with tower %016x from now on", served)
        return found

    def _trained(self) -> int:
        if not self._settings.artifacts:
            return general_version()
        folder = Path(self._settings.artifacts) / artifact.SESSION_MODEL
        return artifact.read_manifest(folder, artifact.SESSION_MODEL).number
