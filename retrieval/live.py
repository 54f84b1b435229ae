"""A snapshot opened for serving: base graph, mapped columns, and where to read the catalogue's changes on from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from contracts.errors import ArtifactError
from contracts.settings import IndexSettings
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns
from retrieval.graph import Graph, GraphOptions, map_graph
from retrieval.sharded_index import ShardedIndex
from retrieval.snapshot import Manifest, expect_model, read_manifest, read_pointer, verify_file
from retrieval.snapshot_catalogue import open_catalogue
from retrieval.snapshot_folder import GRAPH
from state.table_changes import Change

REMEMBERED = 64
"""Changes that a fingerprint is made of."""
REHEARSED = 100
"""Searches before a snapshot is taken up."""


class Start(NamedTuple):
    """Where to read changes on from, and the fingerprint of those before.

    Of a table of several shards: all changes together, and `shards` says it of each.
    """

    number: int
    fingerprint: str
    shards: tuple[Start, ...] = ()

    def of(self, shards: int) -> tuple[Start, ...] | None:
        """Return where each shard goes on from; None where the table had another number of them."""
        starts = self.shards or (self,)
        return starts if len(starts) == shards else None


def together(starts: Sequence[Start]) -> Start:
    """Return the start of a table by those of its shards."""
    if len(starts) == 1:
        return starts[0]
    digest = xxhash.xxh3_128("".join(one.fingerprint for one in starts).encode())
    return Start(sum(one.number for one in starts), digest.hexdigest(), tuple(starts))


@dataclass(frozen=True, slots=True)
class Opened:
    """A snapshot, open. Columns and index belong to whoever opened it: what it changes is its own delta."""

    name: str
    manifest: Manifest
    columns: CatalogueColumns
    index: AnnIndex

    @property
    def start(self) -> Start:
        return start_of(self.manifest)


def start_of(manifest: Manifest) -> Start:
    """Return where the table's changes go on from after a snapshot."""
    return Start(
        manifest.change,
        manifest.fingerprint,
        tuple(Start(shard.change, shard.fingerprint) for shard in manifest.shards),
    )


def graph_options(settings: IndexSettings) -> GraphOptions:
    return GraphOptions(settings.precision, settings.connectivity, settings.expansion_add, settings.expansion)


def index_of(columns: CatalogueColumns, settings: IndexSettings, base: Graph | None = None) -> AnnIndex:
    """Return what searches columns, as the settings say: this process by `base`, if there is one, or the shards."""
    if settings.shards:
        return ShardedIndex(columns)
    return AnnIndex(columns, exact_up_to=settings.exact_up_to, options=graph_options(settings), base=base)


def open_snapshot(
    folder: Path, name: str, settings: IndexSettings, *, model: tuple[int, int] | None, verified: bool = False
) -> Opened:
    """Open one snapshot, mapped. `model` is the encoder's version and dimension, None to take what the snapshot holds.

    Of one that was not `verified` as a whole, the graph is, before usearch sees it: a damaged one would end the
    process, at every start. Raises ArtifactError for one that is not whole, not readable, or of another model.
    """
    snapshot = folder / name
    manifest = read_manifest(snapshot)
    if model is not None:
        expect_model(manifest, snapshot, version=model[0], dim=model[1])
    columns = open_catalogue(snapshot, manifest)
    base = None
    if manifest.searchable and not settings.shards:
        if not verified:
            verify_file(snapshot, manifest, GRAPH)
        built = GraphOptions(manifest.precision, manifest.connectivity, manifest.expansion_add, settings.expansion)
        base = map_graph(snapshot / GRAPH, manifest.dim, built)
        if len(base) != manifest.searchable:
            raise ArtifactError(f"{snapshot}: expected {manifest.searchable:,} nodes in the graph, got {len(base):,}")
    return Opened(name, manifest, columns, index_of(columns, settings, base))


def open_columns(folder: Path, name: str, *, model: tuple[int, int]) -> tuple[CatalogueColumns, Start]:
    """Open a snapshot's columns alone, and where the table's changes go on from. Raises ArtifactError for one that is
    not whole, or not of this model (version, dimension).
    """
    snapshot = folder / name
    manifest = read_manifest(snapshot)
    expect_model(manifest, snapshot, version=model[0], dim=model[1])
    return open_catalogue(snapshot, manifest), start_of(manifest)


def open_current(settings: IndexSettings, *, model: tuple[int, int] | None) -> Opened | None:
    """Open what the pointer names; None where nothing was published. Raises ArtifactError."""
    folder = Path(settings.folder)
    name = read_pointer(folder).current
    return None if name is None else open_snapshot(folder, name, settings, model=model)


def rehearse(opened: Opened, random: np.random.Generator) -> None:
    """Search near some of the items: maps the pages that most searches touch, before requests come. For the thread
    that opened it. At a million items the first searches of a mapping took 2.5 ms, later ones 0.7."""
    columns = opened.columns
    if columns.count and len(opened.index):
        for row in random.integers(columns.count, size=REHEARSED).tolist():
            opened.index.search(columns.vectors[row][None], 10)


def fingerprint(changes: Iterable[Change]) -> str:
    """Return the digest of the last changes before a number. A table that was rolled back, and gave their numbers to
    others, has another.
    """
    digest = xxhash.xxh3_128()
    for change in deque(changes, maxlen=REMEMBERED):
        digest.update(change.number.to_bytes(8, "little") + change.key + (change.row or b"-"))
    return digest.hexdigest()


def fingerprint_from(number: int) -> int:
    """Return the change from which on a fingerprint at `number` is made."""
    return max(0, number - REMEMBERED)


def newest_ms(columns: CatalogueColumns) -> int:
    """Return when the newest item that can be shown was created; 0 without any."""
    alive = columns.alive[: columns.count]
    return int(np.max(columns.created_ms[: columns.count], where=alive, initial=0))
