"""Puts a backup back: everything is unpacked, loaded and looked at aside, and takes its place in one step.

For the stack's own Redis that step is one rename of the stack's folder. For another Redis the keys are copied under
another prefix first and renamed in one transaction, after the folder; in a cluster in one transaction a slot.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from contracts.errors import ArtifactError, OutputRefused, SettingsError, StartupError
from contracts.keys import Keys
from contracts.outputs import exchanged
from contracts.settings import RedisSettings
from nextclick.stack.backup.archive import read_manifest, unpack_archive
from nextclick.stack.backup.erased import erase_again, keep_list, known_erasures
from nextclick.stack.backup.making import work_folder
from nextclick.stack.backup.manifest import SNAPSHOT, Manifest
from nextclick.stack.backup.remote import RemoteKeys
from nextclick.stack.backup.which_redis import REDIS, is_embedded, stack_is_running
from nextclick.stack.settings import StackSettings
from nextclick.stack.stack_folder import LOCK, expect_stack_folder
from state.client import connect, redis_errors_translated
from state.disk_sync import sync_files
from state.embedded import ADDRESS, CONFIG, EmbeddedRedis
from state.key_copies import drop_others
from state.private import make_private
from state.redis_snapshot import sync_file

_APPEND_ONLY = "appendonly.aof"
"""A Redis with an append-only file loads nothing else. One that begins with a snapshot is what Redis itself writes."""
Progress = Callable[[str], None]


class Restored(NamedTuple):
    manifest: Manifest
    keys: int
    aside: Path | None
    """Where what was in the target's folder is now."""
    again: int = 0
    """Erasures that are younger than the backup, or were under way: gateways carry them out again."""
    knows_erasures: bool = False


def restore_backup(
    settings: StackSettings, path: Path, *, now: str, replace: bool, progress: Progress = lambda _: None
) -> Restored:
    """Put a backup into the stack's folder, and its keys into Redis where that is not the stack's own.

    Raises NextclickError and OSError, with all as it was: a target that is not empty without `replace`, a stack that
    runs, a damaged backup, another layout, other settings. What was in the folder stays beside it.
    """
    folder = settings.stack.folder.absolute()
    erased = known_erasures(settings)
    _expect_fits(path, read_manifest(path), settings)
    _expect_room(folder, replace=replace)
    remote = None if is_embedded(settings) else RemoteKeys(settings.redis, since=now, replace=replace)
    if remote is not None:
        remote.expect_room()
    progress("reading the backup")
    with work_folder(folder) as aside:
        manifest = unpack_archive(path, aside)
        make_private(aside / REDIS)
        _keep_password(folder, aside)
        progress("loading Redis")
        with _loaded(aside, manifest) as server:
            keys = _tidied(server, manifest)
            again = erase_again(RedisSettings(url=server.url, prefix=manifest.redis.prefix), erased)
            if remote is not None:
                progress("copying keys")
                remote.copy(server)
        keep_list(aside, erased)
        _settle(aside, embedded=remote is None)
        old = _put_in_place(aside, folder, now)
    if remote is not None:
        progress("putting keys in place")
        remote.put_in_place()
    return Restored(manifest, keys, old, again, erased is not None)


def load_backup(path: Path, beside: Path) -> int:
    """Unpack a backup and load it into a Redis of its own, which is thrown away; returns its keys."""
    with work_folder(beside) as aside:
        manifest = unpack_archive(path, aside)
        make_private(aside / REDIS)
        with _loaded(aside, manifest) as server:
            return _tidied(server, manifest)


def _expect_fits(path: Path, manifest: Manifest, settings: StackSettings) -> None:
    """Raise SettingsError where this deployment would not find what is in the backup."""
    asked = {
        "NEXTCLICK_REDIS__PREFIX": (manifest.redis.prefix, settings.redis.prefix),
        "NEXTCLICK_LOG__PARTITIONS": (str(manifest.log.partitions), str(settings.log.partitions)),
        "NEXTCLICK_LOG__KIND": (manifest.log.kind, settings.log.kind),
    }
    for name, (there, here) in asked.items():
        if there != here:
            raise SettingsError(
                f"{name}: expected {there!r}, as {path} was made with, got {here!r}: set it so, and try again"
            )


def _expect_room(folder: Path, *, replace: bool) -> None:
    if not folder.exists():
        return
    if folder.is_symlink() or folder.is_mount() or not folder.is_dir():
        raise OutputRefused(
            f"{folder}: expected a folder that can be renamed, found a link, a mounted disk or a file: name a folder "
            "in it with --folder"
        )
    if stack_is_running(folder):
        raise StartupError(f"a stack runs in {folder}: stop it first")
    if not any(folder.iterdir()):
        return
    expect_stack_folder(folder)
    if not (folder / LOCK).exists():
        raise OutputRefused(f"{folder}: expected a new folder or a stack's, found another: it was left as it is")
    if not replace:
        raise OutputRefused(
            f"{folder}: expected a new folder, found a stack's: it was left as it is. --replace puts the backup in its "
            "place, and keeps it beside"
        )


def _keep_password(folder: Path, aside: Path) -> None:
    """Let a stack that is replaced keep the password of its Redis: others may know it."""
    if (folder / REDIS / CONFIG).is_file():
        shutil.copy(folder / REDIS / CONFIG, aside / REDIS / CONFIG)


@contextmanager
def _loaded(aside: Path, manifest: Manifest) -> Iterator[EmbeddedRedis]:
    """Run a Redis on the snapshot. Raises StartupError where this machine's does not take it."""
    (aside / SNAPSHOT).rename(aside / REDIS / _APPEND_ONLY)
    server = EmbeddedRedis(aside / REDIS)
    try:
        server.start()
    except StartupError as error:
        raise StartupError(
            f"the snapshot of Redis {manifest.redis.version} could not be loaded: it takes a Redis as new as that on "
            f"this machine's path, and memory for all of it. {error}"
        ) from error
    try:
        yield server
    finally:
        server.stop(timeout_s=60)


def _tidied(server: EmbeddedRedis, manifest: Manifest) -> int:
    """Leave this deployment's keys alone, in database 0; returns how many. Raises ArtifactError where some are missing.

    Keys of other deployments come with the snapshot of a Redis that is shared; keys that expired meanwhile are gone.
    """
    facts = manifest.redis
    own = RedisSettings(url=server.url, prefix=facts.prefix)
    with redis_errors_translated(own), closing(_patient(own)) as client:
        if facts.database:
            client.swapdb(0, facts.database)
        for name in client.info("keyspace"):
            if name != "db0":
                other = own.model_copy(update={"url": f"{own.url.removesuffix('/0')}/{name.removeprefix('db')}"})
                with closing(_patient(other)) as others:
                    others.flushdb()
        found = client.dbsize()
        if facts.keys is not None and facts.expiring is not None and found < facts.keys - facts.expiring:
            raise ArtifactError(f"expected {facts.keys:,} keys, Redis loaded {found:,}: take another backup")
        drop_others(client, facts.prefix)
        client.delete(Keys(facts.prefix).restoring())  # of one that began while the backup was taken
        kept: int = client.dbsize()
        return kept


def _patient(redis: RedisSettings) -> Any:
    return connect(redis.model_copy(update={"timeout_ms": max(redis.timeout_ms, 60_000)}))


def _settle(aside: Path, *, embedded: bool) -> None:
    """Make of the folder what the stack takes for its own, all of it on the disk."""
    if embedded:
        (aside / REDIS / ADDRESS).unlink(missing_ok=True)  # of a server that is gone
        sync_files(aside / REDIS)
    else:
        shutil.rmtree(aside / REDIS)
    (aside / LOCK).touch(mode=0o600)
    for path in [*aside.rglob("*"), aside]:
        if path.is_dir() and not path.is_symlink():
            sync_file(path)


def _put_in_place(aside: Path, folder: Path, now: str) -> Path | None:
    """Let the new folder take the place of the old one in one step; returns where the old one is."""
    if not folder.exists() or not any(folder.iterdir()):
        aside.rename(folder)  # over an empty one
        sync_file(folder.parent)
        return None
    beside = folder.with_name(f"{folder.name}.before-{now}")
    exchanged(aside, folder, beside)
    sync_file(folder.parent)
    return beside
