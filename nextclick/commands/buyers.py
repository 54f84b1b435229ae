"""`nextclick buyers`: buyers of the synthetic shop at a running gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nextclick.stack.api_key import KeyFile, api_key
from nextclick.stack.options import url_option
from nextclick.stack.settings import gateway_url


def buyers(
    url: Annotated[str | None, url_option("A gateway of this machine, with the synthetic shop's items.")] = None,
    key_file: KeyFile = None,
    visits: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many visits.")] = 1_000,
    rate: Annotated[float, typer.Option(min=0.001, max=10_000, help="Visits that begin each second.")] = 20.0,
    seconds: Annotated[float, typer.Option(min=0.1, max=604_800, help="Stop after so long, whoever is left.")] = 600.0,
    at_once: Annotated[int, typer.Option(min=1, max=2_000, help="Visits under way at most; others wait.")] = 100,
    think: Annotated[float, typer.Option(min=0, max=3_600, help="Mean seconds that a buyer looks at a page.")] = 0.5,
    first: Annotated[str, typer.Option(help="Placement or scenario on arrival.")] = "homepage",
    then: Annotated[str, typer.Option(help="Placement or scenario on the page of an item.")] = "product",
    limit: Annotated[int, typer.Option(min=1, max=100, help="Items of a list.")] = 10,
    persistence: Annotated[
        float, typer.Option(min=0, max=1, help="Share of those who looked at a position who look at the next.")
    ] = 0.8,
    price_weight: Annotated[
        float, typer.Option(min=0, max=10, help="Log odds of a click lost by each e-fold of the usual price.")
    ] = 1.2,
    signed_in: Annotated[float, typer.Option(min=0, max=1, help="Share of visits by members, who come again.")] = 0.4,
    currency: Annotated[str, typer.Option(help="Of orders: three letters.")] = "EUR",
    seed: Annotated[int, typer.Option(min=0, help="Another one brings other buyers.")] = 1,
    shop_seed: Annotated[int, typer.Option(min=0, help="Seed of the shop, as `demo` and `items shop` had it.")] = 7,
    run: Annotated[str, typer.Option(help="Name in front of all ids; new for every run.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write what came of it as JSON.")] = None,
) -> None:
    """Let buyers with tastes visit the shop: what they click and buy depends on what they are shown.

    Exits 1 when an event was lost, or no list held an item.
    """
    import numpy as np

    from contracts.clock import wall_clock_ms
    from contracts.outputs import expect_outputs
    from nextclick.show.sales import buy_and_show, expect_run, write_sales
    from replay.engine.buying import BuyOptions
    from replay.engine.run import new_run_name
    from replay.measure.sales import SALES
    from replay.synthetic.buyers import Habits
    from replay.synthetic.shop import make_shop

    expect_outputs((out, SALES))
    options = BuyOptions(
        gateway_url(url),
        run or new_run_name(wall_clock_ms()),
        visits=visits,
        rate=rate,
        seconds=seconds,
        at_once=at_once,
        think_s=think,
        first=first,
        then=then,
        limit=limit,
        seed=seed,
        currency=currency,
        key=api_key(key_file),
        habits=Habits(persistence=persistence, price_weight=price_weight, signed_in=signed_in),
    )
    expect_run(options)
    takings = buy_and_show(options, make_shop(np.random.default_rng(shop_seed)))
    if out is not None:
        write_sales(out, options, takings)
    if takings.total.pages and not takings.total.shown:
        typer.echo(
            f"error expected items in the lists of {gateway_url(url)}, got none in {takings.total.pages:,} lists; "
            "load the synthetic shop's: `nextclick items shop FOLDER`, "
            "then `nextclick items load FOLDER/items.jsonl.zst`",
            err=True,
        )
    raise typer.Exit(1 if takings.lost or not takings.total.shown else 0)
