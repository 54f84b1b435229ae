"""`nextclick bench freshness`: from a click to the session view that counts it, on the synthetic shop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nextclick.bench.report import BenchRow, console, expect_bench, finish, medians
from nextclick.bench.running import running_stack

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from replay.measure.freshness import Freshness


def freshness(
    rate: Annotated[float, typer.Option(help="Clicks a second.")] = 500.0,
    seconds: Annotated[float, typer.Option(help="How long to click.")] = 20.0,
    runs: Annotated[int, typer.Option(help="Runs; the medians are kept.")] = 3,
) -> None:
    """Measure click to visible session view on the synthetic shop: several runs, medians."""
    import uvloop

    from nextclick.show.replay import freshness_watched
    from nextclick.show.replay_tables import freshness_table
    from nextclick.stack.client import Client
    from nextclick.stack.load_items import load_items
    from nextclick.stack.shop_models import ARTIFACTS
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
            found.append(freshness_rows(result))
    finish("freshness", medians(found), f"make bench-freshness ARGS='--rate {rate:g} --runs {runs}'")


def freshness_rows(result: Freshness) -> list[BenchRow]:
    """Return the figures as benchmark rows."""
    accepted = round(result.accepted / result.elapsed_s, 1) if result.elapsed_s else 0.0
    found = [BenchRow("clicks accepted", accepted, "1/s", 0.98 * result.rate, "higher")]
    targets = {"p50": None, "p95": None, "p99": 100.0}
    for name, times in (
        ("click to visible, with token", result.by_token),
        ("click to visible, with token, from intended time", result.by_token_intended),
        ("click to visible, polling", result.by_polling),
    ):
        found += [BenchRow(f"{name}, {cut}", getattr(times, cut), "ms", target) for cut, target in targets.items()]
    found.append(BenchRow("POST /api/events, p99 from intended time", result.post.p99, "ms"))
    found.append(BenchRow("clicks never seen", float(result.never), "clicks", 0.0))
    found.append(BenchRow("sender's own lag, p99", result.sender_lag.p99, "ms"))
    return found
