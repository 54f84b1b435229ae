"""`nextclick backup FOLDER`, `nextclick backup verify FILE`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from contracts.clock import wall_clock_ms
from contracts.errors import SettingsError
from nextclick.commands.moments import shown
from nextclick.stack.options import setting_option
from nextclick.stack.settings import StackSettings, with_given

console = Console(highlight=False, soft_wrap=True)


def make(
    where: Annotated[
        str,
        typer.Argument(
            metavar="TO",
            help="A file, or a folder in which one is made that is named by the time (it ends in a slash).",
        ),
    ],
    folder: Annotated[Path | None, setting_option("stack.folder", help="Folder of the stack.")] = None,
    redis: Annotated[str | None, setting_option("redis.url", "--redis", help="Redis that is not the stack's.")] = None,
    artifacts: Annotated[str | None, setting_option("artifacts")] = None,
    trends: Annotated[
        Path | None, typer.Option(help="The trends flow's --recovery folder, where that is not the stack's.")
    ] = None,
    keep: Annotated[int, typer.Option(min=0, help="Keep so many backups of a folder; 0 keeps all.")] = 0,
) -> None:
    """Make a backup of all that a deployment keeps, while it runs. It holds secrets: its file is yours alone."""
    from nextclick.stack.backup.making import drop_older, file_in, make_backup, named_files
    from nextclick.stack.backup.which_redis import expect_one_redis, is_embedded

    to = Path(where)
    if (keep or where.endswith(os.sep)) and not to.is_dir():
        asked = "--keep: " if keep else ""
        raise SettingsError(f"{asked}expected a folder of backups, found none at {to}: make it first (mkdir {to})")
    given = {"stack.folder": folder, "redis.url": redis, "artifacts": artifacts}
    settings = with_given(StackSettings(), given)
    expect_one_redis(settings, folder=folder, redis=redis)
    now_ms = wall_clock_ms()
    file = file_in(to, f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%dT%H%M%SZ}")
    manifest = make_backup(
        settings,
        file,
        now_ms=now_ms,
        environment=os.environ,
        named_files=named_files(settings),
        trends=trends,
    )
    console.print(f"{file}: {file.stat().st_size / 1e6:,.1f} MB, {_keys(manifest.redis.keys)}", markup=False)
    if not is_embedded(settings):
        console.print(f"redis     of {settings.redis.place}", markup=False)
    if manifest.redis.paused_ms:
        console.print(f"writes    waited for {manifest.redis.paused_ms:,} ms, on all primaries at once", markup=False)
    console.print(f"left out  {'; '.join(manifest.left_out)}", markup=False)
    if manifest.log.kind == "kafka":
        console.print("The log is Kafka's: its topics are not in the backup, the offsets that were applied are.")
    for gone in drop_older(file.parent, keep) if keep else []:
        console.print(f"removed   {gone}", markup=False)


def verify(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    load: Annotated[
        bool, typer.Option("--load", help="Load it into a Redis that is thrown away: takes memory for all of it.")
    ] = False,
) -> None:
    """Read a whole backup and compare every file with its checksum."""
    from nextclick.stack.backup.archive import verify_archive
    from nextclick.stack.backup.restoring import load_backup

    manifest = verify_archive(file)
    log, redis = manifest.log, manifest.redis
    facts = {
        "made": f"{shown(manifest.made_ms)} UTC, by Nextclick {manifest.version}",
        "files": f"{len(manifest.files):,}, {manifest.bytes / 1e6:,.1f} MB unpacked, all as they were written",
        "redis": f"{redis.version}, database {redis.database}, prefix {redis.prefix}, {_keys(redis.keys)}",
        "log": f"{log.kind}, {log.partitions} partitions",
        "models": manifest.models or "none",
    }
    if load:
        facts["loaded"] = _keys(load_backup(file, file))
    for name, value in facts.items():
        console.print(f"{name:8}{value}", markup=False)


def _keys(count: int | None) -> str:
    return f"{count:,} keys" if count is not None else "keys not counted"
