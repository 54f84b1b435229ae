"""`nextclick index`: build, inspect, verify and roll back snapshots of the index; serve a shard of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from contracts.clock import wall_clock_ms
from contracts.errors import ArtifactError, NextclickError, SettingsError
from contracts.outputs import expect_outputs, write_output
from contracts.settings import ServiceSettings
from nextclick.stack.options import setting_option
from nextclick.stack.settings import with_given

if TYPE_CHECKING:
    from nextclick.show.index_picture import Effort
    from retrieval.follow import Follower
    from retrieval.live import Opened

console = Console()

Folder = Annotated[Path | None, setting_option("index.folder", help="Folder of snapshots.")]
Artifacts = Annotated[Path | None, setting_option("artifacts", help="Folder of trained artifacts.")]
Redis = Annotated[str | None, setting_option("redis.url", help="Redis that holds the catalogue.")]


def build_snapshot(
    folder: Folder = None,
    artifacts: Artifacts = None,
    redis: Redis = None,
    number: Annotated[
        int | None, typer.Option("--shard", min=0, help="Build that of one shard of index.shards.")
    ] = None,
) -> None:
    """Build a snapshot of the catalogue as it is now, and publish it to every gateway process."""
    from retrieval.build import build
    from retrieval.share import expect_share, settings_of
    from session_model.serving import load_tower
    from state.shards import catalogue_reader

    settings = index_settings(folder, artifacts, redis)
    share = None if number is None else expect_share(number, settings.index.shards)
    if share is not None:
        settings = settings.model_copy(update={"index": settings_of(share, settings.index)})
    tower = load_tower(settings.artifacts, settings.text_model)
    reader = catalogue_reader(settings.redis)
    with console.status("building") as status:
        built = build(settings, reader, tower, status.update, share=share)
    reader.close()
    manifest = built.manifest
    recall = "columns alone, as shards search" if manifest.recall is None else f"recall {manifest.recall:.3f}"
    console.print(f"Published {built.name}: {manifest.alive:,} items in {manifest.build_s:.1f} s, {recall}.")
    if built.left_out:
        console.print(f"[yellow]{built.left_out:,} rows could not be read and are left out.[/]")


def shard(
    number: Annotated[int, typer.Option("--shard", min=0, help="Which shard: from 0.")],
    of: Annotated[int | None, setting_option("index.shards", "--of", min=1)] = None,
    folder: Folder = None,
    artifacts: Artifacts = None,
    redis: Redis = None,
) -> None:
    """Search one share of the items for gateways, until Ctrl-C or SIGTERM. For where `up` does not run everything."""
    from nextclick.show.supervision import log_with_time
    from retrieval.shard import run_shard
    from retrieval.share import expect_share

    log_with_time()
    given = {
        "index.folder": folder and str(folder),
        "index.shards": of,
        "artifacts": artifacts and str(artifacts),
        "redis.url": redis,
    }
    settings = with_given(ServiceSettings(), given)
    run_shard(settings, expect_share(number, settings.index.shards))


def inspect(
    folder: Folder = None,
    artifacts: Artifacts = None,
    redis: Redis = None,
    live: Annotated[bool, typer.Option(help="Read what changed since from Redis.")] = True,
    picture: Annotated[Path | None, typer.Option(help="Write recall against effort and latency as HTML.")] = None,
    sample: Annotated[int, typer.Option(help="Searches that are compared with exact ones.")] = 100,
) -> None:
    """Show what serves: sizes, delta, tombstones, recall, orphans, and recall against search effort and latency."""
    import numpy as np

    from nextclick.show.index_picture import PICTURE, measure, picture_page
    from retrieval.canary import check
    from retrieval.live import open_current

    settings = index_settings(folder, artifacts, redis)
    if picture is not None and not picture.absolute().parent.is_dir():
        raise SettingsError(f"expected a folder for the picture at {picture.absolute().parent}, found none: make it")
    expect_outputs((picture, PICTURE))
    opened = open_current(settings.index, model=None)
    if opened is None:
        raise ArtifactError(f"{settings.index.folder} holds no snapshot: run `nextclick index build`")
    follower = _followed(settings, opened) if live else None
    with console.status("comparing with exact search"):
        found = check(opened.index, opened.columns, np.random.default_rng(1), sample=sample, k=100)
        efforts = measure(opened, sample=sample, k=100)
    console.print(_facts(settings, opened, follower, found.recall, found.orphaned))
    console.print(_efforts_table(efforts, settings.index.expansion))
    if picture is not None:
        write_output(picture, picture_page(efforts, opened.name).encode(), PICTURE)
        console.print(f"Written to {picture}")


def verify(folder: Folder = None) -> None:
    """Read every file of the snapshot that serves, and of the one before, and compare checksums."""
    from retrieval.snapshot import read_pointer
    from retrieval.snapshot import verify as verify_snapshot

    path = Path(index_settings(folder).index.folder)
    pointer = read_pointer(path)
    names = [name for name in (pointer.current, pointer.previous) if name is not None]
    if not names:
        raise ArtifactError(f"{path} holds no snapshot: run `nextclick index build`")
    for name in names:
        began = time.monotonic()
        manifest = verify_snapshot(path / name)
        size = sum(entry.bytes for entry in manifest.files.values())
        console.print(f"{name}: whole, {size / 1e6:,.0f} MB read in {time.monotonic() - began:.1f} s")


def rollback(folder: Folder = None) -> None:
    """Serve the snapshot before the current one. A new item tower that came with the current one is not built again."""
    from retrieval.snapshot import rollback as go_back

    name = go_back(Path(index_settings(folder).index.folder))
    console.print(f"Serving {name}; gateways take it up within a second or so.")


def index_settings(
    folder: Path | None = None, artifacts: Path | None = None, redis: str | None = None
) -> ServiceSettings:
    """Return the settings with what was typed. Raises SettingsError without a folder."""
    given = {"index.folder": folder and str(folder), "artifacts": artifacts and str(artifacts), "redis.url": redis}
    settings = with_given(ServiceSettings(), given)
    if not settings.index.folder:
        raise SettingsError("expected a folder of snapshots: pass --folder, or set NEXTCLICK_INDEX__FOLDER")
    return settings


def _followed(settings: ServiceSettings, opened: Opened) -> Follower | None:
    """Take in what changed since the snapshot; None, and said, when Redis or the snapshot's tower is not there."""
    from retrieval.follow import Follower
    from session_model.serving import load_tower
    from state.shards import catalogue_reader

    try:
        tower = load_tower(settings.artifacts, settings.text_model)
        if tower.version != opened.manifest.tower:
            raise ArtifactError("the artifacts are not of the snapshot's tower")
        reader = catalogue_reader(settings.redis)
        follower = Follower(reader, tower, settings.index)
        with console.status("reading what changed since"):
            follower.start(opened)
        reader.close()
        return follower
    except NextclickError as error:
        console.print(f"[yellow]Shown as it is on disk: {error}[/]")
        return None


def _facts(
    settings: ServiceSettings, opened: Opened, follower: Follower | None, recall: float, orphaned: float
) -> Table:
    from retrieval.builder import delta_share, tombstone_share
    from retrieval.live import newest_ms
    from retrieval.snapshot import read_pointer, sizes

    manifest, index, columns = opened.manifest, opened.index, opened.columns
    parts = sizes(manifest)
    newest = newest_ms(columns)
    table = Table(title=f"Snapshot {opened.name}", show_header=False)
    rows = {
        "one before": read_pointer(Path(settings.index.folder)).previous or "none",
        "item tower": f"{manifest.tower_version}, {manifest.dim} dimensions",
        "graph": f"{manifest.searchable:,} nodes, {manifest.precision}, {manifest.connectivity} links",
        "on disk": ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in parts.items()),
        "built": f"{_age(wall_clock_ms() - manifest.built_ms)} ago, in {manifest.build_s:,.1f} s",
        "change": f"{manifest.change:,}" + (f", followed to {follower.number:,}" if follower is not None else ""),
        "items that can be found": f"{len(index):,}",
        "delta": f"{index.size.delta:,} items, {delta_share(index):.2%} of the base",
        "tombstones": f"{tombstone_share(columns):.2%} of {columns.count:,} rows",
        "recall@100": f"{recall:.4f} (gate at build: {manifest.recall})",
        "orphaned items": f"{orphaned:.2%}",
        "newest item": f"{_age(wall_clock_ms() - newest)} old" if newest else "none",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _age(ms: int) -> str:
    """Say how long in the unit that fits."""
    seconds = ms / 1000
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} s"


def _efforts_table(efforts: list[Effort], serving: int) -> Table:
    table = Table(title="Recall@100 against search effort, one thread")
    for column in ("width", "recall", "p50 ms", "p99 ms", ".8 to 1"):
        table.add_column(column, justify="right")
    for one in efforts:
        bar = "█" * round(24 * max(0.0, (one.recall - 0.8) / 0.2))
        mark = " serving" if one.expansion == serving else ""
        table.add_row(str(one.expansion), f"{one.recall:.4f}", f"{one.p50_ms:.3f}", f"{one.p99_ms:.3f}", bar + mark)
    return table
