"""`nextclick replay freshness`: from a click to a recommendation that counts it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs
from nextclick.commands.replay_options import Url
from nextclick.show.replay import complain, console, freshness_watched
from nextclick.stack.api_key import KeyFile, api_key
from nextclick.stack.settings import gateway_url

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.measure.freshness import Freshness, FreshnessOptions


def freshness(
    url: Url = None,
    key_file: KeyFile = None,
    rate: Annotated[float, typer.Option(min=1.0, help="Clicks a second.")] = 500.0,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to click.")] = 20.0,
    share: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share of clicks to watch with their token, and as many without.")
    ] = 0.1,
    items: Annotated[
        Path | None, typer.Option(help="Items file to click on; else the gateway's own catalogue.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the figures as benchmark JSON.")] = None,
) -> None:
    """Measure click to visible: from the POST of a click to a recommendation that counts it.

    Exits 1 when a click was lost or never seen, or the run is invalid.
    """
    import shlex
    import sys

    import uvloop

    from nextclick.bench.freshness import freshness_rows
    from nextclick.bench.report import BENCH, write_bench_file
    from nextclick.show.replay_tables import freshness_table
    from nextclick.stack.client import expect_listening
    from replay.measure.freshness import FreshnessOptions

    expect_outputs((out, BENCH), inputs=[items])
    options = FreshnessOptions(gateway_url(url), rate=rate, seconds=seconds, share=share, key=api_key(key_file))
    expect_listening(options.url)
    result = uvloop.run(_freshness(options, items))
    console.print(freshness_table(result))
    complain(result.invalid)
    if out is not None:
        write_bench_file(out, "freshness", freshness_rows(result), shlex.join(["nextclick", *sys.argv[1:]]))
        console.print(f"Written: {out}")
    raise typer.Exit(1 if result.failed or result.never or result.invalid else 0)


async def _freshness(options: FreshnessOptions, items: Path | None) -> Freshness:
    from eventlog.item_tables import ItemTable
    from replay.measure.freshness import listed_items

    ids = (
        [item_id for item_id, _ in ItemTable(items).read()]
        if items
        else await listed_items(options.url, key=options.key)
    )
    if not ids:
        raise SettingsError("the gateway's catalogue is empty: load items first, or name a file with --items")
    return await freshness_watched(options, ids)
