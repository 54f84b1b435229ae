"""The index as this process serves it: opened from a snapshot, exchanged for a newer one between two requests.

Columns and index are exchanged in place, in one step of the event loop, together with the models when the snapshot is
of a new item tower: an answer never mixes two. A snapshot that cannot be used is named once, and the old one serves on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from copy import copy
from pathlib import Path
from time import monotonic

import numpy as np

from contracts.errors import ArtifactError, StateUnavailable
from contracts.settings import IndexSettings, ServiceSettings
from gateway.metrics import Metrics
from gateway.models import Models, load_models
from gateway.replicas import keys_of
from gateway.sharded_replica import Followed
from retrieval.ann_index import AnnIndex
from retrieval.builder import ask_for_build, tombstone_share
from retrieval.canary import Canary, recall_of
from retrieval.catalogue import CatalogueColumns
from retrieval.intake import Intake, RawRows
from retrieval.live import Opened, Start, index_of, newest_ms, open_current, open_snapshot, rehearse
from retrieval.scatter import Scatter
from retrieval.shard_frames import Places
from retrieval.shard_line import Line
from retrieval.sharded_index import ShardedIndex
from retrieval.share import addresses_of
from retrieval.snapshot import read_manifest, read_pointer, verify
from session_model.encoder import SessionEncoder
from session_model.item_tower import ItemTower
from session_model.serving import load_tower
from state.table_changes import ChangesTrimmed

log = logging.getLogger("nextclick.gateway")

LOOK_S = 1.0
REST = 50.0
"""An exact search is followed by so many times its own duration of rest."""
VERIFY_REST = 3.0
"""Seconds of rest for each second of reading a snapshot, before it is taken up or after starting from it."""
ASK_AFTER_PROBES, ASK_EVERY_S = 20, 600.0
_NEAR = 10
_AVERAGED = 0.01


class LiveIndex:
    """Columns, index, and what takes rows into them. They stay the same objects when a snapshot is exchanged."""

    def __init__(self, settings: ServiceSettings, models: Models, turn: asyncio.Lock | None = None) -> None:
        """`turn` is held while columns and index are exchanged."""
        self._turn = turn or asyncio.Lock()
        self.scatter: Scatter | None = None
        if settings.index.shards:
            self.scatter = Scatter(addresses_of(settings.index), settings.index.shard_deadline_ms / 1000)
        self.taken: Callable[[], Places | None] = lambda: None
        """Returns the next changes of the catalogue that this process takes; None while it loads."""
        self.settings = settings
        self.models = models
        opened = self._first(settings.index, models.encoder) if settings.index.folder else None
        self.name = opened.name if opened is not None else None
        self.start: Start | None = opened.start if opened is not None else None
        self.columns, self.index = (opened.columns, opened.index) if opened is not None else empty(settings, models)
        self._wire(self.index)
        self.canary = Canary(settings.index.canary_share, np.random.default_rng())
        self.index.observer = self.canary.offer
        self.swaps = 0
        self.refused = 0
        self.orphaned = float("nan")
        self.newest_ms = 0
        self._refused_names: set[str] = set()
        self._refusal = ""
        self._intake = self._new_intake(self.columns, self.index)
        self._asked_at = -ASK_EVERY_S

    def take(self, rows: RawRows) -> None:
        """Take catalogue rows in. Raises, with nothing taken, for one that cannot be."""
        self._intake.take(rows)

    def _numbers(self) -> Places | None:
        return self.taken()

    def close(self) -> None:
        """Leave the shards, if any."""
        if self.scatter is not None:
            self.scatter.close()

    async def follow_snapshots(self, catalogue: Followed, switch: Callable[[Models], None]) -> None:
        """Exchange the snapshot whenever a newer one is published. `switch` is told of models that come with it."""
        if not self.settings.index.folder:
            return
        folder, pause_s = Path(self.settings.index.folder), self.settings.index.check.total_seconds()
        await self._verify_first(folder)
        while True:
            await asyncio.sleep(pause_s)
            name = None
            try:
                name = read_pointer(folder).current
                if name is not None and name != self.name and name not in self._refused_names:
                    await self._exchange(folder, name, catalogue, switch)
            except ArtifactError as error:
                self._refuse(name, error)
            except (StateUnavailable, ChangesTrimmed) as error:
                log.warning("snapshot %s waits: %s", name, error)

    async def _verify_first(self, folder: Path) -> None:
        """Read the snapshot that this process started from, now that it answers: starting only maps it."""
        try:
            if self.name is not None:
                await asyncio.to_thread(verify, folder / self.name, VERIFY_REST)
        except ArtifactError as error:
            try:
                if read_pointer(folder).current != self.name:
                    return  # another took its place, and its files are gone
            except ArtifactError as lost:
                log.error("cannot tell which snapshot is current: %s", lost)
            self._refuse(None, error)
            _ask_for_build(folder, f"the one that serves is damaged: {error}")

    def ask_for(self, version: str) -> None:
        """Ask for the first snapshot of a session model: it cannot serve without. A builder that has one already sees
        the new model by itself.
        """
        if not self.settings.index.folder:
            log.warning("session model %s serves from the next start on: there is no index.folder", version)
            return
        log.info("session model %s waits for the index snapshot of its item tower", version)
        folder = Path(self.settings.index.folder)
        try:
            first = read_pointer(folder).current is None
        except ArtifactError:
            return  # whoever builds sees to that
        if first:
            _ask_for_build(folder, f"session model {version}")

    async def watch(self) -> None:
        """Compare some live searches with exact ones, and see whether items can be found, off the request path."""
        random = np.random.default_rng()
        while True:
            rest_s = LOOK_S
            if not self.index.is_exact:
                rest_s = max(rest_s, REST * await self._measure())
                self._look_for_one(random)
            still = self.index.frozen()
            self.newest_ms = await asyncio.to_thread(newest_ms, still.catalogue)
            await asyncio.sleep(rest_s)

    async def _exchange(self, folder: Path, name: str, catalogue: Followed, switch: Callable[[Models], None]) -> None:
        models = await asyncio.to_thread(self._models_for, folder, name)
        if models is None or not catalogue.following:
            return
        encoder = models.encoder
        model = (encoder.version, encoder.dim) if encoder is not None else None
        opened = await asyncio.to_thread(self._opened, folder, name, model)
        intake = self._new_intake(opened.columns, opened.index)
        beside = catalogue.beside(intake.take, keys_of(opened.columns))
        if not await beside.resume(opened.start):
            since = opened.start.number
            raise ArtifactError(f"snapshot {name}: the table's changes since {since} are not kept, or not the same")
        retired: list[object] = []
        while not retired:
            while beside.lacks(catalogue):  # type: ignore[arg-type]
                await beside.advance()
            async with self._turn:  # in which the catalogue may have moved on while a batch was ranked
                if not beside.lacks(catalogue):  # type: ignore[arg-type]
                    retired += [copy(self.columns), copy(self.index)]
                    self._replace_in_place(opened, intake, models, catalogue, beside, switch)
        await asyncio.to_thread(retired.clear)  # unmapping a gigabyte takes a while: not in the event loop

    def _opened(self, folder: Path, name: str, model: tuple[int, int] | None) -> Opened:
        verify(folder / name, VERIFY_REST)
        opened = open_snapshot(folder, name, self.settings.index, model=model, verified=True)
        self._wire(opened.index)
        if self.scatter is None:
            rehearse(opened, np.random.default_rng())
        return opened

    def _wire(self, index: AnnIndex) -> None:
        """Have the shards asked, where there are some."""
        if isinstance(index, ShardedIndex):
            index.scatter, index.numbers = self.scatter, self._numbers

    def _replace_in_place(
        self,
        opened: Opened,
        intake: Intake,
        models: Models,
        catalogue: Followed,
        beside: Followed,
        switch: Callable[[Models], None],
    ) -> None:
        """Exchange everything at once: no await, so no request sees half of it."""
        if not catalogue.following:  # it loads everything again: exchange when it is through
            return
        if models.version == self.models.version:  # a re-ranker may have been taken up meanwhile
            models = self.models
        self.columns.replace_in_place(opened.columns)
        self.index.replace_in_place(opened.index)
        intake.columns, intake.index = self.columns, self.index
        self._intake = intake
        catalogue.take_over(beside)  # type: ignore[arg-type]
        self.canary.forget()
        if models is not self.models:
            switch(models)
        self.models, self.name, self.swaps, self._refusal = models, opened.name, self.swaps + 1, ""
        log.info("serving snapshot %s: %d items", opened.name, len(self.index))

    def _models_for(self, folder: Path, name: str) -> Models | None:
        """Return the models that go with a snapshot: ours, or the artifacts' when they are newer; None to wait."""
        manifest = read_manifest(folder / name)
        if self.models.encoder is None or self.models.encoder.version == manifest.tower:
            return self.models
        trained = load_models(self.settings.artifacts)
        return trained if trained.encoder is not None and trained.encoder.version == manifest.tower else None

    def _first(self, settings: IndexSettings, encoder: SessionEncoder | None) -> Opened | None:
        try:
            return open_current(settings, model=(encoder.version, encoder.dim) if encoder is not None else None)
        except ArtifactError as error:
            log.error("starting without a snapshot: %s", error)
            return None

    def _refuse(self, name: str | None, error: ArtifactError) -> None:
        self.refused += 1
        if name is not None:
            self._refused_names.add(name)
        if str(error) != self._refusal:  # a pointer that stays unreadable is said once, and counted at every look
            log.error("going on with snapshot %s: %s", self.name, error)
        self._refusal = str(error)

    def _new_intake(self, columns: CatalogueColumns, index: AnnIndex) -> Intake:
        def tower() -> ItemTower | None:
            try:
                return load_tower(self.settings.artifacts, self.settings.text_model)
            except ArtifactError as error:
                log.error("rows of another item tower keep no vector in this process: %s", error)
                return None

        return Intake(columns, index, tower)

    async def _measure(self) -> float:
        """Measure one live search, if one waits. Returns the seconds that it took."""
        probe = self.canary.next()
        if probe is None:
            return 0.0
        began = monotonic()
        recall = await asyncio.to_thread(recall_of, self.index.frozen(), probe)
        if np.isfinite(recall):
            self.canary.learn(recall)
        low = self.canary.probes >= ASK_AFTER_PROBES and self.canary.recall < self.settings.index.recall_floor
        if low and self.settings.index.folder and monotonic() - self._asked_at > ASK_EVERY_S:
            self._asked_at = monotonic()
            why = f"recall of live searches fell to {self.canary.recall:.3f}"
            _ask_for_build(Path(self.settings.index.folder), why)
        return monotonic() - began

    def _look_for_one(self, random: np.random.Generator) -> None:
        """Search for one item by its own vector: one that is not found is orphaned."""
        row = int(random.integers(self.columns.count))
        if not (self.columns.alive[row] and self.columns.has_vector[row]):
            return
        lost = float(row not in self.index.frozen().search(self.columns.vectors[row][None], _NEAR)[0])
        self.orphaned = lost if np.isnan(self.orphaned) else self.orphaned + _AVERAGED * (lost - self.orphaned)


def empty(settings: ServiceSettings, models: Models) -> tuple[CatalogueColumns, AnnIndex]:
    """Return columns and index without a snapshot."""
    encoder = models.encoder
    columns = CatalogueColumns(model_version=encoder.version, dim=encoder.dim) if encoder else CatalogueColumns()
    return columns, index_of(columns, settings.index)


def _ask_for_build(folder: Path, why: str) -> None:
    try:
        ask_for_build(folder, why)
    except OSError as error:  # a full disk: serving goes on
        log.error("cannot ask for a new snapshot (%s): %s", why, error)


def watch_index(live: LiveIndex, metrics: Metrics, clock_ms: Callable[[], int]) -> None:
    """Show how the index does."""
    index, columns, canary = live.index, live.columns, live.canary
    metrics.gauge("index_items", "Items that can be found.", {}, lambda: index.size.searchable)
    metrics.gauge("index_base_items", "Nodes of the snapshot's graph; 0 without one.", {}, lambda: index.size.base)
    metrics.gauge("index_delta_items", "Items in this process's own graph.", {}, lambda: index.size.delta)
    metrics.gauge("index_superseded", "Nodes of the snapshot that are hidden.", {}, lambda: index.size.superseded)
    metrics.gauge("index_tombstone_share", "Deleted items among all rows.", {}, lambda: tombstone_share(columns))
    metrics.gauge("index_recall", "Recall of live searches against exact ones.", {}, lambda: canary.recall)
    metrics.gauge("index_orphaned_share", "Sampled items not found by their own vector.", {}, lambda: live.orphaned)
    metrics.gauge(
        "index_newest_item_age_seconds",
        "Since the newest item that can be shown was created.",
        {},
        lambda: (clock_ms() - live.newest_ms) / 1000 if live.newest_ms else float("nan"),
    )
    for line in [] if live.scatter is None else live.scatter.lines:
        watch_shard(line, metrics)
    metrics.total("index_probes", "Live searches that were compared.", {}, lambda: canary.probes)
    metrics.total("index_swaps", "Snapshots taken up while serving.", {}, lambda: live.swaps)
    metrics.total("index_refused", "Snapshots that could not be used.", {}, lambda: live.refused)


def watch_shard(line: Line, metrics: Metrics) -> None:
    """Show how a shard of the index does, as this process sees it: by the questions that it puts."""
    label = {"shard": str(line.shard)}
    metrics.gauge("index_shard_up", "1 while the shard answers.", label, lambda: float(line.well))
    metrics.gauge("index_shard_change", "Next change of the catalogue that it takes.", label, lambda: line.number)
    about = "Changes that this process had taken and the shard had not, at its last answer."
    metrics.gauge("index_shard_behind", about, label, lambda: line.behind)
    metrics.total("index_shard_answers", "Answers of a shard.", label, lambda: line.answers)
    about = "Time waited for a shard's answers, all together."
    metrics.total("index_shard_answer_seconds", about, label, lambda: line.waited_s)
    for why in ("down", "late", "refused"):
        about = "Searches that a shard was left out of, but for those while it rests."
        metrics.total("index_shard_missed", about, {**label, "why": why}, lambda why=why: line.missed[why])  # type: ignore[misc]
