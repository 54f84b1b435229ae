"""What a scenario costs a request inside the process, beside a plain placement, in turns.

    python -m nextclick.bench.scenarios [--items 18000] [--rounds 400]

The shop of `nextclick.bench.pipeline`. Each scenario is asked right before or after the plain placement, for the same
visitor; the figure is the median of the differences of processor time. Before that: how long the event loop is held
while the columns of fields are made that nothing read before. Writes build/bench/scenarios.json.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from contracts.ids import item_key
from contracts.items import CatalogueRow, item_of
from contracts.scenarios import Scenario
from contracts.sessions import Session
from gateway.ahead import ColumnsAhead
from nextclick.bench.pipeline import NOW, shop
from nextclick.bench.report import BenchRow, expect_bench, finish
from rerank.pipeline import Pipeline, Query
from rerank.scenarios.ahead import read_of_items
from rerank.scenarios.compiled import Compiled, compile_scenario
from retrieval.catalogue import CatalogueColumns

LIMIT: Final = 20
WHOLE: Final[dict[str, Any]] = {
    "filter": 'price < 60 and stock > 0 and not brand in ["brand1"] and under(category, "top3") == false',
    "boosts": [
        {"if": "price < 20", "multiply": 1.5},
        {"if": 'brand == "brand5"', "multiply": 1.2},
        {"if": "age_hours < 24", "multiply": 1.1},
    ],
    "value": "fashion",
    "limits": [{"field": "category", "share": 0.5}, {"field": "brand", "most": 2}],
    "diversity": 0.3,
}
PARTS: Final[Mapping[str, dict[str, Any]]] = {
    "all of it": WHOLE,
    **{name: {name: part} for name, part in WHOLE.items()},
}
_TARGET_US: Final = 150.0
_FILTER_TARGET_US: Final = 50.0


def cost_us(pipeline: Pipeline, visitors: Sequence[Session], scenario: Compiled, rounds: int) -> float:
    """Return the median of what a scenario adds to a request, microseconds of processor time."""
    differences: list[float] = []
    for turn in range(-20, rounds):
        session = visitors[turn % len(visitors)]
        took: dict[bool, float] = {}
        for decides in (False, True) if turn % 2 else (True, False):
            query = Query(NOW, session=session, region="DE", limit=LIMIT, scenario=scenario if decides else None)
            began = time.thread_time_ns()
            pipeline.recommend([query])
            took[decides] = (time.thread_time_ns() - began) / 1000
        if turn >= 0:
            differences.append(took[True] - took[False])
    return float(np.median(differences))


HELD_ITEMS: Final = 60_000
NEW_FIELDS: Final = 5
_HOLD_TARGET_MS: Final = 5.0


def new_fields(items: int) -> tuple[CatalogueColumns, Compiled]:
    """Return a catalogue whose items have attributes, and a scenario that reads five of them for the first time."""
    catalogue, made = CatalogueColumns(), []
    for at in range(items):
        item = item_of({"title": f"Item {at}", "attributes": {f"a{n}": at % (7 + n) for n in range(NEW_FIELDS)}})
        made.append((item_key(f"i{at}"), CatalogueRow(f"i{at}", item, 5, NOW, 0, b"")))
    catalogue.apply(made)
    text = " and ".join(f"attributes.a{n} < 6" for n in range(NEW_FIELDS))
    return catalogue, compile_scenario("new", 1, Scenario.model_validate({"filter": text}), lambda base: None)


def hold_of_a_request_ms(items: int) -> float:
    """Return how long a request holds the event loop that makes the columns of five new fields itself."""
    catalogue, scenario = new_fields(items)
    began = time.thread_time_ns()
    for mask in scenario.filter.masks:
        catalogue.fields.mask(catalogue, mask)
    return (time.thread_time_ns() - began) / 1e6


async def longest_hold_ahead_ms(items: int) -> float:
    """Return the longest that the event loop is held while the columns are made ahead."""
    catalogue, scenario = new_fields(items)
    ahead = ColumnsAhead(catalogue, asyncio.Lock())
    work, longest = asyncio.ensure_future(ahead.catch_up(read_of_items(scenario, NOW))), 0.0
    while not work.done():
        began = time.thread_time_ns()
        await asyncio.sleep(0)
        longest = max(longest, (time.thread_time_ns() - began) / 1e6)
    await work
    return longest


def holds(items: int) -> list[BenchRow]:
    """Return how long the loop is held by five new fields: in a request, and ahead of it."""
    what = f"{items:,} items, {NEW_FIELDS} fields that nothing read before"
    return [
        BenchRow(f"{what}: longest hold, made by the request", hold_of_a_request_ms(items), "ms"),
        BenchRow(f"{what}: longest hold, made ahead", asyncio.run(longest_hold_ahead_ms(items)), "ms", _HOLD_TARGET_MS),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.scenarios", description=__doc__)
    parser.add_argument("--items", type=int, default=18_000)
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    expect_bench("scenarios")
    state = shop(options.items)
    rows = holds(HELD_ITEMS)
    for name, document in PARTS.items():
        scenario = compile_scenario("bench", 1, Scenario.model_validate(document), lambda base: None)
        target = _TARGET_US if name == "all of it" else _FILTER_TARGET_US if name == "filter" else None
        cost = cost_us(state.pipeline, state.visitors, scenario, options.rounds)
        rows.append(BenchRow(f"{options.items:,} items, {name}: added to a request", cost, "us", target))
    finish("scenarios", rows, f"make bench-scenarios ARGS='--items {options.items}'")


if __name__ == "__main__":
    main()
