"""The models that a flow works with: those of the snapshot which serves, also when it changes.

A flow looks between two micro-batches, so that what is committed together was made by one model. What it commits names
its model: whoever reads a state or a vector of another one makes it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from contracts.errors import ArtifactError
from contracts.settings import ServiceSettings
from retrieval.catalogue import CatalogueColumns
from retrieval.live import Start, open_columns
from retrieval.snapshot import read_manifest, read_pointer
from session_model import artifact
from session_model.encoder import SessionEncoder
from session_model.general import general_version
from session_model.item_tower import ItemTower
from session_model.serving import load_encoder, load_tower

log = logging.getLogger(__name__)


class Versioned(Protocol):
    @property
    def version(self) -> int: ...


Model = TypeVar("Model", bound=Versioned)


class ServingModel(Generic[Model]):
    """Loaded from the artifacts, and again when a snapshot of another model serves and the artifacts hold that one.

    Gateways change their models in the moment in which such a snapshot is published, and no sooner: before that, rows
    of the newer tower would have no vector for them. Looks once in `index.check`. For one thread.
    """

    def __init__(self, settings: ServiceSettings, clock_ms: Callable[[], int], load: Callable[[], Model]) -> None:
        self._settings, self._clock_ms, self._load = settings, clock_ms, load
        self._model = load()
        self._every_ms = int(1000 * settings.index.check.total_seconds())
        self._looked_ms = clock_ms()

    def __call__(self) -> Model:
        """Return the model to work with now: the very same object until it is another."""
        now_ms = self._clock_ms()
        if self._settings.index.folder and now_ms - self._looked_ms >= self._every_ms:
            self._looked_ms = now_ms
            self._model = self._newer(self._model)
        return self._model

    def _newer(self, model: Model) -> Model:
        folder = Path(self._settings.index.folder)
        try:
            name = read_pointer(folder).current
            served = model.version if name is None else read_manifest(folder / name).tower
            if served == model.version or self._trained() != served:
                return model
            found = self._load()
        except ArtifactError as error:
            log.warning("going on with session model %016x: %s", model.version, error)
            return model
        if found.version != served:  # the artifacts changed while they were read: the next look will tell
            return model
        log.info("working with session model %016x from now on", served)
        return found

    def _trained(self) -> int:
        if not self._settings.artifacts:
            return general_version()
        folder = Path(self._settings.artifacts) / artifact.SESSION_MODEL
        return artifact.read_manifest(folder, artifact.SESSION_MODEL).number


def serving_tower(settings: ServiceSettings, clock_ms: Callable[[], int]) -> ServingModel[ItemTower]:
    """What items are embedded with."""
    return ServingModel(settings, clock_ms, lambda: load_tower(settings.artifacts, settings.text_model))


def serving_encoder(settings: ServiceSettings, clock_ms: Callable[[], int]) -> ServingModel[SessionEncoder]:
    """What sessions are read with."""
    return ServingModel(settings, clock_ms, lambda: load_encoder(settings.artifacts))


@dataclass(frozen=True, slots=True, eq=False)
class SessionModel:
    """An encoder, and the vectors of its item tower: those of the snapshot which serves, where that is of this tower.

    `start` says where the catalogue's changes go on from; None: the columns are empty.
    """

    encoder: SessionEncoder
    columns: CatalogueColumns
    start: Start | None

    @property
    def version(self) -> int:
        return self.encoder.version


def serving_sessions(settings: ServiceSettings, clock_ms: Callable[[], int]) -> ServingModel[SessionModel]:
    """What sessions are encoded with."""
    return ServingModel(settings, clock_ms, lambda: _session_model(settings))


def _session_model(settings: ServiceSettings) -> SessionModel:
    """Load the encoder. The table's rows may be of the tower before: the vectors are those of the snapshot."""
    encoder = load_encoder(settings.artifacts)
    folder = Path(settings.index.folder)
    try:
        name = read_pointer(folder).current if settings.index.folder else None
        if name is not None and read_manifest(folder / name).tower == encoder.version:
            columns, start = open_columns(folder, name, model=(encoder.version, encoder.dim))
            return SessionModel(encoder, columns, start)
    except ArtifactError as error:
        log.warning("reading the catalogue from its table: %s", error)
    return SessionModel(encoder, CatalogueColumns(model_version=encoder.version, dim=encoder.dim), None)
