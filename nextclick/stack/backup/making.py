"""Makes a backup: what belongs in one is gathered in a folder aside, and packed from there."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from contracts.errors import StateUnavailable
from contracts.settings import RedisSettings
from nextclick.stack.backup.archive import files_in, links_in, write_archive
from nextclick.stack.backup.manifest import (
    ENVIRONMENT,
    FEEDS,
    FILES,
    FORMAT,
    LAYOUT,
    MODELS,
    SNAPSHOT,
    TOML,
    TRENDS,
    LogFacts,
    Manifest,
    RedisFacts,
)
from nextclick.stack.backup.which_redis import redis_of
from nextclick.stack.feeds.definition import FEED, STATE, FeedFolder
from nextclick.stack.feeds.pull import REPORT, STORE
from nextclick.stack.feeds.wired import folder_of
from nextclick.stack.settings import OWN_REDIS, StackSettings
from registry.folder import SERVING, VERSIONS, version_of
from state.client import connect, redis_errors_translated, servers_of
from state.cluster_snapshot import write_cluster_snapshot
from state.embedded import EmbeddedRedis
from state.key_copies import copy_keys
from state.private import make_private, write_private
from state.redis_snapshot import SnapshotRefused, database_of, snapshot_facts, write_snapshot
from state.restore_mark import expect_whole

_STORE = "part-*.sqlite3"
_STATE_VERSION = "state-version"
_OWN = ("lock", ".adding-")


@contextmanager
def work_folder(beside: Path) -> Iterator[Path]:
    """Give a private folder beside what will be made, so that it is on the same disk; it is removed at the end."""
    beside.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{beside.name}.", suffix=".part", dir=beside.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_backup(
    settings: StackSettings,
    to: Path,
    *,
    now_ms: int,
    environment: Mapping[str, str],
    named_files: Mapping[str, str],
    trends: Path | None = None,
) -> Manifest:
    """Write a backup of a deployment. `named_files`: paths that settings name, by the setting; `trends`: the trends
    flow's recovery store, the stack's own unless it is given.

    The trends' counts are copied first, then Redis is: so they lie behind the log that is in the backup, and go on
    from there. Feeds are copied before it too: what the catalogue was told since is told again. Raises NextclickError,
    OSError; nothing is at `to` then, or what was there.
    """
    with work_folder(to) as folder:
        with redis_of(settings) as redis_settings:
            expect_whole(redis_settings)
            _copy_trends(trends or settings.stack.folder / TRENDS, folder / TRENDS)
            _copy_feeds(folder_of(settings), folder / FEEDS)
            facts = _snapshot(redis_settings, folder)
        serving = _copy_models(settings.artifacts, folder / MODELS)
        _keep_settings(folder, environment, named_files)
        make_private(folder)
        manifest = Manifest(
            format=FORMAT,
            layout=LAYOUT,
            made_ms=now_ms,
            version=metadata.version("nextclick"),
            redis=facts,
            log=LogFacts(
                kind=settings.log.kind, partitions=settings.log.partitions, topic_prefix=settings.log.topic_prefix
            ),
            models=serving,
            files=files_in(folder),
            links=links_in(folder),
        )
        write_archive(to, folder, manifest)
        return manifest


def _snapshot(settings: RedisSettings, folder: Path) -> RedisFacts:
    path, how, paused_ms = folder / SNAPSHOT, "snapshot", 0
    try:
        if settings.is_cluster:
            found, _, paused_ms = write_cluster_snapshot(settings, path)
            database = 0
        else:
            write_snapshot(settings, path)
            found, database = snapshot_facts(path), database_of(settings)
    except SnapshotRefused as refused:
        path.unlink(missing_ok=True)
        _snapshot_of_keys(settings, folder, path, refused)
        found, database, how = snapshot_facts(path), 0, "keys"
    known = found.database == database
    return RedisFacts(
        version=found.redis_version,
        database=database,
        prefix=settings.prefix,
        keys=found.keys if known else None,
        expiring=found.expiring if known else None,
        how=how,
        paused_ms=paused_ms,
    )


def _snapshot_of_keys(settings: RedisSettings, folder: Path, path: Path, refused: SnapshotRefused) -> None:
    """Copy the keys one by one into a Redis of our own, and take its snapshot. What was copied is of one moment only if
    nothing was written meanwhile: Redis counts the writes.
    """
    with closing(connect(settings)) as source, EmbeddedRedis(folder / "copy") as server:
        own = settings.model_copy(update={**OWN_REDIS, "url": server.url})
        with redis_errors_translated(settings), closing(connect(own)) as target:
            before = _writes(source)
            copy_keys(source, target, settings.prefix)
            if _writes(source) != before:
                raise StateUnavailable(
                    f"Redis at {settings.place} gives no snapshot ({refused}), and its keys changed while they were "
                    "read one by one: stop the gateways and flows, or allow SYNC to this user, and try again"
                ) from refused
        write_snapshot(own, path)
    shutil.rmtree(folder / "copy")


def _writes(client: Any) -> list[tuple[str, int, int]]:
    """Return how much each server has written, by its run: another one in its place counts anew."""
    told = [(one.info("server"), one.info("persistence")) for one in servers_of(client)]
    return [(of["run_id"], how["rdb_changes_since_last_save"], how["rdb_last_save_time"]) for of, how in told]


def _copy_trends(store: Path, to: Path) -> None:
    """Copy the recovery store as of one moment, by SQLite's own backup; the flow may write on meanwhile."""
    parts = sorted(store.glob(_STORE))
    if not parts:
        return
    to.mkdir(parents=True)
    for part in parts:
        with closing(sqlite3.connect(part, timeout=30)) as source, closing(sqlite3.connect(to / part.name)) as target:
            source.backup(target)
    if (store / _STATE_VERSION).is_file():
        shutil.copyfile(store / _STATE_VERSION, to / _STATE_VERSION)


def _copy_feeds(feeds: FeedFolder, to: Path) -> None:
    """Copy each feed, and what was seen of it, as of one moment; it may be pulled meanwhile."""
    for name in feeds.names():
        own, place = feeds.place(name), to / name
        place.mkdir(parents=True)
        for file in (FEED, STATE, REPORT):
            with suppress(FileNotFoundError):  # not pulled yet
                shutil.copyfile(own / file, place / file)
        if (own / STORE).is_file():
            opened = sqlite3.connect(own / STORE, timeout=30), sqlite3.connect(place / STORE)
            with closing(opened[0]) as source, closing(opened[1]) as target:
                source.backup(target)


def _copy_models(artifacts: str, to: Path) -> str | None:
    """Copy the registry that serves, or plain artifacts; returns what `Manifest.models` says. Versions never change,
    and links are copied as they are.
    """
    if not artifacts:
        return None
    folder = Path(artifacts).absolute()
    is_registry = folder.name == SERVING and (folder.parent / VERSIONS).is_dir()
    source = folder.parent if is_registry else folder
    serving = version_of(artifacts) if is_registry else "plain"
    shutil.copytree(source, to, symlinks=is_registry, ignore=_not_ours)
    return serving


def _not_ours(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(_OWN)]


def _keep_settings(folder: Path, environment: Mapping[str, str], named: Mapping[str, str]) -> None:
    (folder / FILES).mkdir(parents=True)
    variables = {name: value for name, value in sorted(environment.items()) if name.startswith("NEXTCLICK_")}
    lines = [f'{name}="{_quoted(value)}"\n' for name, value in variables.items()]
    write_private(folder / ENVIRONMENT, "".join(lines))
    toml = Path(environment.get("NEXTCLICK_CONFIG", "nextclick.toml")).expanduser()
    if toml.is_file():
        shutil.copyfile(toml, folder / TOML)
    for setting, path in named.items():
        if path and Path(path).is_file():
            shutil.copyfile(path, folder / FILES / setting)


def _quoted(value: str) -> str:
    return "".join(f"\\{letter}" if letter in '"\\$`' else letter for letter in value)


def named_files(settings: StackSettings) -> dict[str, str]:
    """Return the files that settings name, by the setting: certificates and keys, and the site's rules."""
    from gateway.settings import GatewaySettings

    gateway = GatewaySettings()
    groups = {"redis": settings.redis, "log": settings.log, "gateway": gateway.gateway}
    found = {
        f"{group}.{name}": str(value)
        for group, held in groups.items()
        for name, value in held.model_dump().items()
        if name.endswith(("tls_ca", "tls_certificate", "tls_key"))
    }
    return {**found, "pipeline.rules": str(gateway.pipeline.rules or "")}


def file_in(to: Path, now: str) -> Path:
    """Return the file to write: `to`, or one named by the moment where that is a folder."""
    return to / f"nextclick-{now}.tar.zst" if to.is_dir() else to


def drop_older(folder: Path, keep: int) -> list[Path]:
    """Remove the oldest backups of a folder, by their names, so that `keep` stay; returns which. Other files stay."""
    found = sorted(folder.glob("nextclick-*.tar.zst"))
    leaving = found[: max(0, len(found) - keep)]
    for path in leaving:
        os.unlink(path)
    return leaving
