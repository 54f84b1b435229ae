"""`nextclick items shards`: give the catalogue another number of shards, while nothing runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nextclick.stack.options import setting_option

console = Console(highlight=False)


def shards(
    count: Annotated[int, typer.Argument(min=1, max=64, help="How many shards; 1: one key, as by default.")],
    folder: Annotated[Path | None, setting_option("stack.folder", help="Folder of the stack.")] = None,
    redis: Annotated[str | None, setting_option("redis.url", "--redis", help="Redis that is not the stack's.")] = None,
) -> None:
    """Give the catalogue another number of shards. End the stack first; a Redis that is not its own keeps running.

    Each shard lies in a slot of a Redis Cluster. All that run afterwards need NEXTCLICK_REDIS__ITEM_SHARDS set to it.
    Safe to run again.
    """
    from contracts.clock import wall_clock_ms
    from nextclick.stack.backup.which_redis import expect_one_redis, redis_of
    from nextclick.stack.settings import StackSettings, with_given
    from state.resharding import reshard

    settings = with_given(StackSettings(), {"stack.folder": folder, "redis.url": redis})
    expect_one_redis(settings, folder=folder, redis=redis)
    with console.status("looking") as status, redis_of(settings) as own:
        moved = reshard(own, count, clock_ms=wall_clock_ms, sleep=time.sleep, progress=status.update)
    shown = "shard" if moved.after == 1 else "shards"
    if moved.before == moved.after:
        console.print(f"The catalogue has {moved.after} {shown} already: {moved.rows:,} rows.")
    else:
        console.print(f"The catalogue had {moved.before}, and has {moved.after} {shown} now: {moved.rows:,} rows.")
    console.print(f"Set NEXTCLICK_REDIS__ITEM_SHARDS={moved.after} wherever Nextclick runs.")
