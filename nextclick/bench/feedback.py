"""How many of the next items are like one that was hidden, in the synthetic shop with the shipped models.

    python -m nextclick.bench.feedback [--visitors 300] [--sessions 6000]

A visitor looks at three items, then hides the first item of the list. Counted among the next 6 items: those of the
hidden item's category, and those that shoppers compare with it. Writes build/bench/feedback.json.
"""

from __future__ import annotations

import argparse
import time
from typing import Final

import numpy as np

from nextclick.bench.report import BenchRow, expect_bench, finish
from nextclick.bench.shop_pipeline import SyntheticShop, synthetic_shop
from rerank.pipeline import Pipeline
from rerank.query import Query

NEXT: Final = 6
_TURNS: Final = 400


def alike_after(served: SyntheticShop, pipeline: Pipeline, kind: str, visitors: int) -> tuple[float, float, int]:
    """Return how many of the next items are of the hidden item's category, how many are compared with it, and how
    often it was shown again: means over visitors, and a count. `kind` is the type of the event on the first item.
    """
    shop, places, random = served.shop, served.places(), np.random.default_rng(3)
    category, compared, again = [], [], 0
    for _ in range(visitors):
        first = int(random.integers(len(shop.items)))
        looked = [(first, "view"), (int(shop.alike[first, 0]), "view"), (int(shop.companions[first, 0]), "view")]
        [page] = pipeline.recommend([Query(served.now_ms, session=served.session(*looked), limit=NEXT)])
        hidden = places[page.items[0].item_id]
        asked = Query(served.now_ms, session=served.session(*looked, (hidden, kind)), limit=NEXT)
        [answer] = pipeline.recommend([asked])
        found = np.array([places[item.item_id] for item in answer.items])
        category.append(int((shop.leaf[found] == shop.leaf[hidden]).sum()))
        compared.append(int(np.isin(found, shop.alike[hidden]).sum()))
        again += hidden in found
    return float(np.mean(category)), float(np.mean(compared)), again


def cost_us(served: SyntheticShop, pipeline: Pipeline) -> float:
    """Return the median of what a hide adds to a request beside a view of the same item, microseconds of processor
    time, in turns.
    """
    random, differences = np.random.default_rng(5), []
    for turn in range(-20, _TURNS):
        first, other = random.integers(len(served.shop.items), size=2).tolist()
        took = {}
        for kind in ("view", "hide") if turn % 2 else ("hide", "view"):
            session = served.session((first, "view"), (other, kind))
            began = time.thread_time_ns()
            pipeline.recommend([Query(served.now_ms, session=session)])
            took[kind] = (time.thread_time_ns() - began) / 1000
        if turn >= 0:
            differences.append(took["hide"] - took["view"])
    return float(np.median(differences))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.feedback", description=__doc__)
    parser.add_argument("--visitors", type=int, default=300)
    parser.add_argument("--sessions", type=int, default=6_000)
    options = parser.parse_args()
    expect_bench("feedback")
    served = synthetic_shop(options.sessions)
    pipeline = served.pipeline()
    rows: list[BenchRow] = []
    for kind, name in (("view", "a view instead"), ("dwell", "an event that means nothing"), ("hide", "a hide")):
        category, compared, again = alike_after(served, pipeline, kind, options.visitors)
        rows.append(BenchRow(f"after {name}: of the next {NEXT}, of its category", category, "items"))
        rows.append(BenchRow(f"after {name}: of the next {NEXT}, compared with it", compared, "items"))
        rows.append(BenchRow(f"after {name}: shown again", again, "times", 0 if kind == "hide" else None))
    rows.append(BenchRow("a hide in the window: added to a request", cost_us(served, pipeline), "us"))
    finish("feedback", rows, f"python -m nextclick.bench.feedback --visitors {options.visitors}")


if __name__ == "__main__":
    main()
