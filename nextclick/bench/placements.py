"""What each placement answers in the synthetic shop with the shipped models, and what that costs.

    python -m nextclick.bench.placements [--visitors 200] [--sessions 6000]

A visitor looks at two items each of three shelves, puts the first of each of two shelves in the cart, and asks for 10
items. Of these are counted: those nearest the newest item's shelf, those of the page's shelf, and those that
shoppers buy together with what is in the cart. Writes build/bench/placements.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from contracts.api import Placement
from nextclick.bench.report import BenchRow, expect_bench, finish
from nextclick.bench.shop_pipeline import SyntheticShop, synthetic_shop
from rerank.pipeline import Pipeline
from rerank.query import Query

LIMIT: Final = 10
PLACES: Final = (Placement.EMAIL, Placement.HOMEPAGE, Placement.PRODUCT, Placement.CART)
"""Email stands for a page without a meaning of its own."""


def visit(served: SyntheticShop, random: np.random.Generator) -> list[tuple[int, str]]:
    """Return a visitor's events: (place of the item, type), of three shelves, the newest last."""
    events: list[tuple[int, str]] = []
    for turn, first in enumerate(random.integers(len(served.shop.items), size=3).tolist()):
        events += [(first, "view"), (int(served.shop.alike[first, 0]), "view")]
        if turn < 2:
            events.append((first, "cart"))
    return events


def answer(
    served: SyntheticShop, pipeline: Pipeline, placement: Placement, events: Sequence[tuple[int, str]]
) -> list[int]:
    """Return the places of the items that are answered."""
    places, page = served.places(), served.shop.items[events[-1][0]][0]
    query = Query(
        served.now_ms,
        placement,
        served.session(*events),
        item_id=page if placement is Placement.PRODUCT else None,
        limit=LIMIT,
    )
    [found] = pipeline.recommend([query])
    return [places[item.item_id] for item in found.items]


def figures(served: SyntheticShop, pipeline: Pipeline, placement: Placement, visitors: int) -> tuple[float, float]:
    """Return how many items of a page are of the newest item's shelf, and how many are bought together with the cart:
    means over visitors.
    """
    shop, random = served.shop, np.random.default_rng(9)
    newest, together = [], []
    for _ in range(visitors):
        events = visit(served, random)
        found = np.array(answer(served, pipeline, placement, events))
        cart = [place for place, kind in events if kind == "cart"]
        newest.append(int((shop.leaf[found] == shop.leaf[events[-1][0]]).sum()))
        together.append(int(np.isin(found, shop.companions[cart]).sum()))
    return float(np.mean(newest)), float(np.mean(together))


def cost_us(served: SyntheticShop, pipeline: Pipeline, placement: Placement, rounds: int) -> float:
    """Return the median of what a placement adds to a request beside email, microseconds of processor time."""
    random, differences = np.random.default_rng(9), []
    for turn in range(-20, rounds):
        events, took = visit(served, random), {}
        for one in (Placement.EMAIL, placement) if turn % 2 else (placement, Placement.EMAIL):
            query = Query(served.now_ms, one, served.session(*events), limit=LIMIT)
            if placement is Placement.PRODUCT:
                query = Query(served.now_ms, one, query.session, served.shop.items[events[-1][0]][0], LIMIT)
            began = time.thread_time_ns()
            pipeline.recommend([query])
            took[one] = (time.thread_time_ns() - began) / 1000
        if turn >= 0:
            differences.append(took[placement] - took[Placement.EMAIL])
    return float(np.median(differences))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.placements", description=__doc__)
    parser.add_argument("--visitors", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=6_000)
    options = parser.parse_args()
    expect_bench("placements")
    served = synthetic_shop(options.sessions)
    pipeline = served.pipeline()
    rows: list[BenchRow] = []
    for placement in PLACES:
        newest, together = figures(served, pipeline, placement, options.visitors)
        rows.append(BenchRow(f"{placement}: of {LIMIT}, of the newest item's shelf", newest, "items"))
        rows.append(BenchRow(f"{placement}: of {LIMIT}, bought together with the cart", together, "items"))
        if placement is not Placement.EMAIL:
            rows.append(BenchRow(f"{placement}: added to a request", cost_us(served, pipeline, placement, 300), "us"))
    finish("placements", rows, f"python -m nextclick.bench.placements --visitors {options.visitors}")


if __name__ == "__main__":
    main()
