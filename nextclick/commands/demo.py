"""`nextclick demo`: a synthetic shop on the real stack."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from nextclick.stack.options import Port

console = Console()


def demo(
    port: Port = None,
    once: Annotated[bool, typer.Option("--once", help="Show one shopper's answers and stop.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the shop and its shoppers.")] = 7,
    buyers: Annotated[
        float,
        typer.Option(min=0, max=50, help="Visits a second to an experiment, for 5 minutes at most; 0: none."),
    ] = 6.0,
) -> None:
    """Run a synthetic shop: a page where every click changes the recommendations, and an experiment that ends."""
    from nextclick.stack.kernels_ahead import kernels_ahead

    with kernels_ahead():  # before the imports: they take seconds where nothing is byte-compiled
        from nextclick.show.supervision import log_with_time
        from nextclick.stack.demo import run_demo

        log_with_time()
        raise typer.Exit(run_demo(console, port=port, once=once, seed=seed, buyers=buyers))
