"""`nextclick bench freshness`: from a click to the session view that counts it, on the synthetic shop."""

from __future__ import annotations

from typing import Annotated

import typer

from evaluation.report import expect_bench
from nextclick.bench.figures import console, finish, medians
from nextclick.bench.stacks import running_stack


def freshness(
    rate: Annotated[float, typer.Option(help="Clicks a second.")] = 500.0,
    seconds: Annotated[float, typer.Option(help="How long to click.")] = 20.0,
    runs: Annotated[int, typer.Option(help="Runs; the medians are kept.")] = 3,
) -> None:
    """Measure click to visible session view on the synthetic shop: several runs, medians."""
    import uvloop

    from nextclick.commands.demo import ARTIFACTS
    from nextclick.show.replay import freshness_watched
    from nextclick.show.replay_tables import freshness_table
    from nextclick.stack.client import Client
    from nextclick.stack.load_items import load_items
    from replay.measure.freshness import FreshnessOptions
    from replay.synthetic.shoppers import default_shop

    expect_bench("freshness")
    shop = default_shop()
    found = []
    with running_stack(ARTIFACTS) as stack:
        with Client(stack.url) as client:
            load_items(console, list(shop.items), client)
        for _ in range(runs):
            options = FreshnessOptions(url=stack.url, rate=rate, seconds=seconds)
            result = uvloop.run(freshness_watched(options, [item_id for item_id, _ in shop.items]))
            console.print(freshness_table(result))
            found.append(result.rows())
    finish("freshness", medians(found), f"make bench-freshness ARGS='--rate {rate:g} --runs {runs}'")
