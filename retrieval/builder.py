"""`python -m retrieval.builder`: watches the catalogue beside serving and builds a new snapshot when one is due.

Due is the first one (from `index.min_items` on), and a new one when too much has changed since (`delta_share`) or was
deleted (`tombstone_share`), searches find too little (`recall_floor`), the artifacts hold a new item tower, the one
that serves is damaged, or somebody asked (`ask_for_build`). It may be killed at any time: see `snapshot`.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compiled.kernels import prepare
from contracts.errors import ArtifactError, OutputRefused, SettingsError, StateUnavailable
from contracts.exits import or_exit
from contracts.left_out import reason_of
from contracts.logs import log_as
from contracts.observed import serve_metrics
from contracts.outage import Outage
from contracts.settings import IndexSettings, ServiceSettings
from retrieval import builder_figures
from retrieval.ann_index import AnnIndex
from retrieval.build import build
from retrieval.canary import check
from retrieval.catalogue import CatalogueColumns
from retrieval.follow import Follower, past_of
from retrieval.live import Opened, open_snapshot, start_of
from retrieval.share import Share, settings_of
from retrieval.snapshot import Manifest, read_manifest, read_pointer, rollback
from retrieval.snapshot_copies import copies_of
from retrieval.snapshot_folder import WANTED, Pointer
from session_model import artifact
from session_model.general import general_version
from session_model.item_tower import ItemTower
from session_model.serving import load_tower
from state.presence import announce
from state.shards import catalogue_reader

log = logging.getLogger("nextclick.builder")

CANARY_EVERY_S, CANARY_SAMPLE, CANARY_K = 30.0, 20, 100
RETRY_S, LONGEST_RETRY_S = 10.0, 300.0
BETWEEN_CANARY_BUILDS_S = 600.0


@dataclass(frozen=True, slots=True)
class Watched:
    """What the builder knows when it decides."""

    items: int
    """Rows of the table."""
    served: int | None
    """Item tower of the snapshot that serves, None without one."""
    trained: int
    """Item tower of the artifacts."""
    refused: int | None
    """Item tower that a rollback left."""
    delta_share: float
    tombstone_share: float
    recall: float | None
    asked: str | None


def due(seen: Watched, settings: IndexSettings) -> str | None:
    """Return why a new snapshot should be built, None when none should."""
    if seen.asked is not None:
        return f"asked for: {seen.asked}"
    if seen.trained == seen.refused:
        return None
    if seen.served is None:
        return f"the first one, of {seen.items:,} items" if seen.items >= settings.min_items else None
    if seen.served != seen.trained:
        return f"a new item tower, {seen.trained:016x}"
    if seen.delta_share > settings.delta_share:
        return f"{seen.delta_share:.1%} of the snapshot's items changed"
    if seen.tombstone_share > settings.tombstone_share:
        return f"{seen.tombstone_share:.1%} of the rows are tombstones"
    if seen.recall is not None and seen.recall < settings.recall_floor:
        return f"recall@{CANARY_K} fell to {seen.recall:.3f}"
    return None


def ask_for_build(folder: Path, why: str) -> None:
    """Ask whoever builds snapshots in this folder for a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WANTED).write_text(why)


def tombstone_share(columns: CatalogueColumns) -> float:
    """Return the share of rows that are deleted items."""
    count = columns.count
    return 1.0 - float(columns.alive[:count].mean()) if count else 0.0


def delta_share(index: AnnIndex) -> float:
    """Return the share of the base that has changed since: items in the delta, and items that are gone."""
    size = index.size
    return max(size.delta, size.superseded) / max(1, size.base)


class Builder:
    """Looks, and builds: the whole catalogue, or a share of it. For one thread."""

    def __init__(self, settings: ServiceSettings, share: Share | None = None) -> None:
        index = settings.index if share is None else settings_of(share, settings.index)
        self._settings, self._share = settings.model_copy(update={"index": index}), share
        self._folder = Path(index.folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._reader = catalogue_reader(settings.redis)
        self._tower = load_tower(settings.artifacts, settings.text_model)
        self._watching: tuple[str, Follower] | None = None
        self._manifest: Manifest | None = None
        self._unopened: str | None = None
        self._random = np.random.default_rng()
        self._checked_at = time.monotonic()
        self._canary_built_at = -BETWEEN_CANARY_BUILDS_S
        self._copies = copies_of(index)

    def look(self) -> str | None:
        """Catch up, and return why a snapshot is due. Raises StateUnavailable, ArtifactError."""
        if self._copies is not None:
            self._copies.look(self._trained())
        if self._settings.index.from_store:
            builder_figures.looked(self._reader.size(), 0.0, 0.0, None)
            return None
        self._follow()
        seen = self._watched()
        builder_figures.looked(seen.items, seen.delta_share, seen.tombstone_share, seen.recall)
        return due(seen, self._settings.index)

    def build(self, why: str) -> None:
        """Build and publish. Raises as `retrieval.build.build`."""
        self._watching = None  # its memory is wanted
        if self._serves_again():
            return
        log.info("building a snapshot: %s", why)
        asked = self._asked()
        built = build(self._settings, self._reader, self._tower, lambda step: log.info("%s", step), share=self._share)
        if self._asked() == asked:  # who asks meanwhile wants another; one that failed is still wanted
            (self._folder / WANTED).unlink(missing_ok=True)
        builder_figures.built(built.manifest.build_s)
        log.info("published %s: %d items in %.1f s", built.name, built.manifest.alive, built.manifest.build_s)

    def close(self) -> None:
        self._reader.close()

    def _serves_again(self) -> bool:
        """Let the snapshot before serve, where models were rolled back to its tower and the table's changes since are
        kept: gateways catch up with these, and nothing is built.
        """
        try:
            pointer = read_pointer(self._folder)
            if pointer.current is None or pointer.previous is None:
                return False
            before = read_manifest(self._folder / pointer.previous)
            wanted = self._tower.version
            if before.tower != wanted or read_manifest(self._folder / pointer.current).tower == wanted:
                return False
            if past_of(self._reader, start_of(before)) is None:
                return False
            log.info("serving snapshot %s again", rollback(self._folder, refuses=False))
        except ArtifactError as error:
            log.warning("the snapshot before cannot serve again: %s", error)
            return False
        return True

    def _follow(self) -> None:
        trained = self._trained()
        if trained != self._tower.version:
            self._tower, self._watching = load_tower(self._settings.artifacts, self._settings.text_model), None
        current = None
        with suppress(ArtifactError):
            current = read_pointer(self._folder).current
        if current is None:
            return
        if self._watching is None or self._watching[0] != current:
            opened = self._opened(current, self._tower)
            if opened is None:
                return
            follower = Follower(self._reader, self._tower, self._settings.index, self._share)
            follower.start(opened)
            self._watching, self._manifest = (opened.name, follower), opened.manifest
        else:
            self._watching[1].catch_up()

    def _opened(self, current: str, tower: ItemTower) -> Opened | None:
        """Open what serves, if it is whole and of this tower: to see how far the table has moved on."""
        try:
            if read_manifest(self._folder / current).tower != tower.version:
                return None  # reason enough for a new one
            return open_snapshot(self._folder, current, self._settings.index, model=(tower.version, tower.dim))
        except ArtifactError as error:
            if current != self._unopened:
                log.warning(
                    "cannot open the snapshot that serves, so no change of the catalogue makes a new one due: %s. "
                    "Run `nextclick index build`, or `nextclick index rollback` to serve the one before",
                    error,
                )
            self._unopened = current
            return None

    def _watched(self) -> Watched:
        asked = self._asked()
        served = None
        try:
            pointer = read_pointer(self._folder)
            if pointer.current is not None:
                served = read_manifest(self._folder / pointer.current).tower
        except ArtifactError as error:
            pointer, asked = Pointer(), str(error)
        follower = self._watching[1] if self._watching is not None else None
        return Watched(
            items=self._reader.size() // (1 if self._share is None else self._share.of),
            served=served,
            trained=self._tower.version if self._tower is not None else 0,
            refused=int(pointer.refused_tower, 16) if pointer.refused_tower is not None else None,
            delta_share=self._delta_share(follower) if follower is not None else 0.0,
            tombstone_share=tombstone_share(follower.columns) if follower is not None else 0.0,
            recall=self._canary(follower),
            asked=asked,
        )

    def _delta_share(self, follower: Follower) -> float:
        """Return the share of the snapshot that changed; of one without a graph, by the changes of the table."""
        if self._settings.index.shards and self._manifest is not None:
            return (follower.number - self._manifest.change) / max(1, self._manifest.rows)
        return delta_share(follower.index)

    def _asked(self) -> str | None:
        try:
            return (self._folder / WANTED).read_text()
        except FileNotFoundError:
            return None

    def _canary(self, follower: Follower | None) -> float | None:
        now = time.monotonic()
        recently = now - self._canary_built_at < BETWEEN_CANARY_BUILDS_S
        if follower is None or follower.index.is_exact or recently or now - self._checked_at < CANARY_EVERY_S:
            return None
        self._checked_at = now
        found = check(follower.index, follower.columns, self._random, sample=CANARY_SAMPLE, k=CANARY_K)
        if found.recall < self._settings.index.recall_floor:
            self._canary_built_at = now
        return found.recall

    def _trained(self) -> int:
        if not self._settings.artifacts:
            return general_version()
        folder = Path(self._settings.artifacts) / artifact.SESSION_MODEL
        return artifact.read_manifest(folder, artifact.SESSION_MODEL).number


def run(settings: ServiceSettings) -> None:
    """Look and build until killed. What goes wrong is said, and tried again, after longer and longer pauses."""
    prepare()
    outage = Outage(log, "no new snapshot: ")
    shares = [Share(shard, settings.index.shards) for shard in range(settings.index.shards)]
    builders = [*(Builder(settings, share) for share in shares), Builder(settings)]
    pause_s = settings.index.check.total_seconds()
    while True:
        try:
            for builder in builders:  # what gateways exchange comes last: then the shards have their part of it
                why = builder.look()
                if why is not None:
                    builder.build(why)
            outage.over()
            builder_figures.went(well=True)
            time.sleep(pause_s)
        except (ArtifactError, OutputRefused, StateUnavailable, OSError) as error:
            outage.failed(error)
            builder_figures.went(well=False)
            time.sleep(_retry_s(outage, pause_s))
        except Exception as error:  # ending would take the stack down; the traceback is said once
            reason = reason_of(error)
            if not outage.failures:
                log.error("no new snapshot now: %s", reason, exc_info=error)
            outage.failed(reason)
            builder_figures.went(well=False)
            time.sleep(_retry_s(outage, pause_s))


def _retry_s(outage: Outage, pause_s: float) -> float:
    return max(pause_s, min(RETRY_S * 2.0 ** min(outage.failures - 1, 10), LONGEST_RETRY_S))


def main() -> None:
    log_as("index")
    or_exit(_run_as_set)


def _run_as_set() -> None:
    settings = ServiceSettings()
    if not settings.index.folder or not settings.artifacts:
        raise SettingsError(
            "expected NEXTCLICK_INDEX__FOLDER and NEXTCLICK_ARTIFACTS: nothing to build, nowhere to put it"
        )
    serve_metrics("index", settings.metrics, builder_figures.FIGURES)
    announce(settings.redis, "index")
    run(settings)


if __name__ == "__main__":
    main()
