"""`nextclick restore FILE`: put a backup back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nextclick.stack.options import setting_option
from nextclick.stack.settings import StackSettings, with_given

console = Console(highlight=False, soft_wrap=True)


def restore(
    file: Annotated[Path, typer.Argument(help="A backup that `nextclick backup` made.")],
    folder: Annotated[Path | None, setting_option("stack.folder", help="Folder of the stack.")] = None,
    redis: Annotated[
        str | None, setting_option("redis.url", "--redis", help="Put keys into this Redis, not the stack's own.")
    ] = None,
    erasures: Annotated[
        Path | None,
        setting_option("erasure.list", "--erasures", help="List of erasures that are younger than the backup."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of what is there.")] = False,
) -> None:
    """Put a backup into a new folder (and, with --redis, into a Redis without keys of this deployment)."""
    from nextclick.stack.backup.manifest import ENVIRONMENT, MODELS
    from nextclick.stack.backup.restoring import restore_backup
    from nextclick.stack.backup.which_redis import expect_one_redis, is_embedded

    settings = with_given(StackSettings(), {"stack.folder": folder, "redis.url": redis, "erasure.list": erasures})
    expect_one_redis(settings, folder=folder, redis=redis, new=True)
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    with console.status("reading the backup") as status:
        restored = restore_backup(settings, file, now=now, replace=replace, progress=status.update)
    place = settings.stack.folder.absolute()
    console.print(f"{place}: {restored.keys:,} keys are back", markup=False)
    if not is_embedded(settings):
        console.print(f"redis     {settings.redis.place}: they are there", markup=False)
    if restored.aside is not None:
        console.print(f"before    {restored.aside}: what was there; remove it when all is well", markup=False)
    console.print(f"settings  {place / ENVIRONMENT}: as they were; look at them before the start", markup=False)
    if restored.again:
        told = f"{restored.again:,} are younger than the backup: gateways carry them out again when they start"
        console.print(f"erasures  {told}", markup=False)
    elif not restored.knows_erasures:
        told = "no list of them was found (erasures.json): whoever was erased since the backup is back. Name the list"
        console.print(f"erasures  {told} with --erasures, and restore again", markup=False)
    if (models := restored.manifest.models) is not None:
        artifacts = place / MODELS if models == "plain" else place / MODELS / "serving"
        console.print(f"models    NEXTCLICK_ARTIFACTS={artifacts}", markup=False)
    if restored.manifest.log.kind == "kafka":
        console.print("The flows read Kafka's topics on from the offsets that are in the backup.")
    if is_embedded(settings):
        console.print(f"start     nextclick up --folder {place}", markup=False)
