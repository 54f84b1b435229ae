"""What a scenario costs a request inside the process, beside a plain placement, in turns.

    python -m nextclick.bench.scenarios [--items 18000] [--rounds 400]

The shop of `nextclick.bench.pipeline`. Each scenario is asked right before or after the plain placement, for the same
visitor; the figure is the median of the differences of processor time. Writes build/bench/scenarios.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from contracts.scenarios import Scenario
from contracts.sessions import Session
from nextclick.bench.pipeline import NOW, shop
from nextclick.bench.report import BenchRow, expect_bench, finish
from rerank.pipeline import Pipeline, Query
from rerank.scenarios.compiled import Compiled, compile_scenario

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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.scenarios", description=__doc__)
    parser.add_argument("--items", type=int, default=18_000)
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    expect_bench("scenarios")
    state = shop(options.items)
    rows: list[BenchRow] = []
    for name, document in PARTS.items():
        scenario = compile_scenario("bench", 1, Scenario.model_validate(document), lambda base: None)
        target = _TARGET_US if name == "all of it" else _FILTER_TARGET_US if name == "filter" else None
        cost = cost_us(state.pipeline, state.visitors, scenario, options.rounds)
        rows.append(BenchRow(f"{options.items:,} items, {name}: added to a request", cost, "us", target))
    finish("scenarios", rows, f"make bench-scenarios ARGS='--items {options.items}'")


if __name__ == "__main__":
    main()
