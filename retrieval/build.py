"""Building a snapshot from the catalogue table, beside whatever serves: one call from table to published."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from contracts.clock import wall_clock_ms
from contracts.errors import ArtifactError
from contracts.settings import ServiceSettings
from eventlog.contract import Topic
from retrieval.canary import check
from retrieval.follow import Follower
from retrieval.graph import Graph, save_graph
from retrieval.live import Opened, index_of, newest_ms, open_current, open_snapshot
from retrieval.share import Share
from retrieval.snapshot import Manifest, ShardPlace, building, entries_of, publish, verify, write_synced
from retrieval.snapshot_catalogue import capacity_for, write_catalogue
from retrieval.snapshot_folder import GRAPH, MANIFEST
from session_model.item_tower import ItemTower
from state.shards import CatalogueReader

log = logging.getLogger("nextclick.retrieval")

GATE_SAMPLE, GATE_K = 100, 100

Progress = Callable[[str], None]
"""Told what is being done."""


@dataclass(frozen=True, slots=True)
class Built:
    """A published snapshot. `left_out` counts rows that could not be taken."""

    name: str
    manifest: Manifest
    left_out: int


def build(
    settings: ServiceSettings,
    reader: CatalogueReader,
    tower: ItemTower,
    progress: Progress = lambda _: None,
    clock_ms: Callable[[], int] = wall_clock_ms,
    share: Share | None = None,
) -> Built:
    """Build a snapshot of the whole catalogue, or of a share, with a tower's vectors, and publish it. Where shards
    search, that of the whole has columns and no graph.

    Raises ArtifactError, with nothing published, when another process builds, when the snapshot does not read back as
    it was written, or when its recall is below the floor; OSError when the disk does not take it; StateUnavailable when
    the table cannot be read.
    """
    folder = Path(settings.index.folder)
    began = time.monotonic()
    with building(folder) as aside:
        follower = Follower(reader, tower, settings.index, share)
        progress("reading the catalogue")
        follower.start(_compatible(settings, tower), lambda rows: progress(f"reading the catalogue: {rows:,} items"))
        graph = _graph(follower, settings, progress)
        progress("writing")
        if graph is not None:
            save_graph(graph, aside / GRAPH)
        write_catalogue(aside, follower.columns)
        manifest = _manifest(settings, follower, reader, tower, graph, aside, clock_ms(), time.monotonic() - began)
        write_synced(aside / MANIFEST, orjson.dumps(manifest.sealed().model_dump()))
        progress("verifying")
        manifest = manifest.model_copy(update={"recall": _gate(folder, aside, settings, tower)})
        return Built(publish(folder, aside, manifest), manifest.sealed(), follower.skipped)


def _compatible(settings: ServiceSettings, tower: ItemTower) -> Opened | None:
    """Open the current snapshot to start from, if it is of this tower."""
    with suppress(ArtifactError):
        return open_current(settings.index, model=(tower.version, tower.dim))
    return None


def _graph(follower: Follower, settings: ServiceSettings, progress: Progress) -> Graph | None:
    """Build the graph over what is alive, and take in what changes meanwhile; None when nothing can be searched."""
    columns = follower.columns.compacted()
    index = index_of(columns, settings.index)
    if settings.index.shards:
        follower.move_to(columns, index)
        follower.catch_up()
        return None
    plan = index.plan_build()
    follower.move_to(columns, index)
    progress(f"building the graph of {len(plan.rows):,} items")
    graph = plan.build(settings.index.build_threads)
    progress("catching up")
    follower.catch_up()
    index.adopt(graph)
    follower.catch_up()
    return graph if len(graph) else None


def _manifest(
    settings: ServiceSettings,
    follower: Follower,
    reader: CatalogueReader,
    tower: ItemTower,
    graph: Graph | None,
    aside: Path,
    now_ms: int,
    build_s: float,
) -> Manifest:
    columns, options, start = follower.columns, settings.index, follower.place
    return Manifest(
        tower_version=f"{tower.version:016x}",
        dim=tower.dim,
        precision=options.precision,
        connectivity=options.connectivity,
        expansion_add=options.expansion_add,
        rows=columns.count,
        alive=int(columns.alive[: columns.count].sum()),
        searchable=0 if graph is None else len(graph),
        capacity=capacity_for(columns.count),
        change=start.number,
        fingerprint=start.fingerprint,
        shards=tuple(ShardPlace(change=one.number, fingerprint=one.fingerprint) for one in start.shards),
        progress={str(p): reader.applied(Topic.ITEMS, p) for p in range(settings.log.partitions)},
        newest_ms=newest_ms(columns),
        built_ms=now_ms,
        build_s=round(build_s, 3),
        recall=None,
        files=entries_of(aside),
    )


def _gate(folder: Path, aside: Path, settings: ServiceSettings, tower: ItemTower) -> float | None:
    """Read back what was written, all of it, and search it. Returns its recall, None of what is not searched. Raises
    ArtifactError.
    """
    verify(aside)
    opened = open_snapshot(folder, aside.name, settings.index, model=(tower.version, tower.dim), verified=True)
    if settings.index.shards:
        return None
    found = check(
        opened.index, opened.columns, np.random.default_rng(opened.manifest.change), sample=GATE_SAMPLE, k=GATE_K
    )
    if found.recall < settings.index.recall_floor:
        raise ArtifactError(
            f"the new snapshot's recall@{found.k} is {found.recall:.3f}, the floor is {settings.index.recall_floor}: "
            "not published; raise index.expansion or index.connectivity"
        )
    return round(found.recall, 4)
