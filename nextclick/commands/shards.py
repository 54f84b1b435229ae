"""`nextclick shards`: give the catalogue another number of shards, while nothing runs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from nextclick.stack.options import setting_option

console = Console(highlight=False)


def shards(
    count: Annotated[int, typer.Argument(min=1, max=64, help="How many shards; 1: one key, as by default.")],
    redis: Annotated[str | None, setting_option("redis.url", "--redis", help="Redis of the deployment.")] = None,
) -> None:
    """Give the catalogue another number of shards. End the stack first, keep its Redis running; safe to run again.

    Each shard is a slot of a Redis Cluster. All that run afterwards need NEXTCLICK_REDIS__ITEM_SHARDS set to it.
    """
    from contracts.clock import wall_clock_ms
    from nextclick.stack.settings import StackSettings, with_given
    from state.resharding import reshard

    settings = with_given(StackSettings(), {"redis.url": redis})
    with console.status("looking") as status:
        moved = reshard(
            settings.redis, count, now_ms=wall_clock_ms(), progress=lambda rows: status.update(f"{rows:,} rows moved")
        )
    shown = "shard" if moved.after == 1 else "shards"
    if moved.before == moved.after:
        console.print(f"The catalogue has {moved.after} {shown} already: {moved.rows:,} rows.")
    else:
        console.print(f"The catalogue had {moved.before}, and has {moved.after} {shown} now: {moved.rows:,} rows.")
    console.print(f"Set NEXTCLICK_REDIS__ITEM_SHARDS={moved.after} wherever Nextclick runs.")
