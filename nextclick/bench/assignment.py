"""What the assignment of an experiment costs a request, by processor time.

    python -m nextclick.bench.assignment [--units 200000]

No Redis, no network: the same object that a gateway asks. Writes build/bench/assignment.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from attribution.facts import device_of
from contracts.api import Placement
from contracts.assignment import allotted, mask_of
from contracts.experiment_rows import row_key_of
from contracts.experiments import Experiment, ExperimentVersion
from contracts.plain_requests import PlainRequest
from gateway.bandits import Kind
from gateway.experiments import Experiments
from gateway.scenarios import Scenarios
from nextclick.bench.report import BenchRow, expect_bench, finish
from rerank.query import Query
from rerank.scenarios.compiled import plain
from retrieval.catalogue import CatalogueColumns

NAME: Final = "assignment"
TURNS: Final = 5
BY_KIND: Final = {"kind": "bandit", "context": ["device", "returning"]}
SEGMENT: Final = 'context.device == "phone" and context.hour >= 8'


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--units", type=int, default=200_000)
    given = options.parse_args()
    expect_bench(NAME)
    asked = [PlainRequest(f"visitor-{n}") for n in range(given.units)]
    cases: dict[str, Callable[[], Experiments]] = {
        "of a scenario without experiments": lambda: running(0),
        "of an experiment": lambda: running(1, share=0.5),
        "of ten experiments of a layer": lambda: running(10, share=0.05),
        "of a bandit": lambda: running(1, share=0.5, allocation={"kind": "bandit"}),
        "of a bandit with shares by device and returning": lambda: running(1, share=0.5, allocation=BY_KIND),
        "of an experiment that interleaves": lambda: running(1, share=0.5, allocation={"kind": "interleaving"}),
        "of an experiment with a segment of two conditions": lambda: running(1, share=0.5, segment=SEGMENT),
    }
    rows = [BenchRow(f"a request {name}", cost_us(make(), asked), "us", 10.0) for name, make in cases.items()]
    finish(NAME, rows, "make bench-assignment")


def running(count: int, share: float = 0.5, **fields: Any) -> Experiments:
    """Return experiments of the homepage, of one layer."""
    experiments, taken = Experiments(Scenarios()), set[int]()
    for number in range(count):
        name = f"x{number}"
        variants = [{"name": "control", "share": share}, {"name": "b", "share": share}]
        experiment = Experiment.model_validate({"scenario": "homepage", "variants": variants, **fields})
        buckets = allotted(name, {one.name: one.buckets for one in experiment.variants}, {}, taken)
        taken.update(*buckets.values())
        masks = {variant: mask_of(own) for variant, own in buckets.items()}
        version = ExperimentVersion(
            name=name, version=1, published_ms=number, started_ms=number, experiment=experiment, buckets=masks
        )
        experiments.take([(row_key_of(name), version)])
    return experiments


def cost_us(experiments: Experiments, asked: Sequence[PlainRequest]) -> float:
    """Return the processor time of one assignment, the median of some turns."""
    catalogue, homepage = CatalogueColumns(), plain(Placement.HOMEPAGE)

    def query() -> Query:
        return Query(now_ms=1_764_240_000_000, context={"device": "phone", "hour": 12.0})

    def kind() -> Kind:
        return Kind(device_of("phone"), "no")

    found = []
    for _ in range(TURNS):
        began = time.process_time()
        for one in asked:
            experiments.assigned(homepage, one, query, kind, catalogue, 1)
        found.append(1e6 * (time.process_time() - began) / len(asked))
    return float(np.median(found))


if __name__ == "__main__":
    main()
