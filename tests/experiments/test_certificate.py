"""A/A certificates: the same figures as the report's, and what is wrong with a site's traffic said in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.assignment import allotted, bucket_of
from experiments.asked import Asked, Metric
from experiments.certificate import Certificate, Rate, Setup, certificate
from experiments.moments import Moments
from experiments.report import report
from experiments.tables import Table, Texts
from experiments.unit_days import Amounts, UnitDays, bucket_sums, moments_of, unit_days

HALVES = {"control": 0.5, "b": 0.5}


def amounts(unit: Any, day: Any, amount: Any) -> Amounts:
    return Amounts(np.array(unit, np.int64), np.array(day, np.int64), np.array(amount, np.float64))


def ids(count: int) -> list[bytes]:
    return [f"s{n}".encode() for n in range(count)]


def spent(count: int, days: int, seed: int = 1, *, rate: float = 0.4) -> UnitDays:
    """Return units that come on any day, and spend on it and on the next with some chance."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, days, count)
    unit = np.repeat(np.arange(count), 2)
    day = np.minimum(np.repeat(first, 2) + np.tile([0, 1], count), days)
    bought = rng.random(2 * count) < rate
    money = rng.lognormal(1.0, 0.5, 2 * count).round(2)
    return unit_days(first, amounts(unit[bought], day[bought], money[bought]), None, days)


def judged(found: UnitDays, count: int, *, runs: int = 60, lifts: tuple[float, ...] = (), **more: Any) -> Certificate:
    pytest.importorskip("tea_tasting", reason="needs the experiments extra")
    setup = Setup("x", "of homepage", **{"shares": HALVES, **more})
    return certificate(setup, ids(count), {"revenue": found}, lifts=lifts, runs=runs)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_moments_of_each_day_are_those_of_what_units_did_until_then(data: st.DataObject) -> None:
    count, days = data.draw(st.integers(4, 12)), data.draw(st.integers(1, 4))
    draw = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    first = draw.integers(0, days, count)
    unit = draw.integers(0, count, 30)
    day = np.minimum(first[unit] + draw.integers(0, 3, 30), days)  # the last: after the experiment
    value, below = draw.integers(0, 5, 30).astype(float), draw.integers(1, 4, 30).astype(float)
    found = unit_days(first, amounts(unit, day, value), amounts(unit, day, below), days)
    buckets = draw.integers(-1, 3, count)
    sums = bucket_sums(found, buckets)
    moments, _ = moments_of(sums, found)
    for bucket in range(3):
        for last in range(days):
            mine = np.flatnonzero((buckets == bucket) & (first <= last))
            assert moments.count[bucket, last] == len(mine)
            if not len(mine):
                continue
            until = day <= last
            table = [[one[(unit == n) & until].sum() for one in (value, below)] for n in mine]
            wanted = Moments.of(np.array(table))
            assert moments.mean[bucket, last] == pytest.approx(wanted.mean)
            assert moments.scatter[bucket, last] == pytest.approx(wanted.scatter, abs=1e-9)


def lifted(values: np.ndarray[Any, Any], codes: np.ndarray[Any, Any], lift: float) -> Mapping[str, Any]:
    return {"revenue": np.where(codes == 1, values * (1.0 + lift), values)}


def test_a_planted_lift_is_found_in_the_runs_in_which_the_report_finds_it() -> None:
    count, days, runs, lift = 1600, 2, 16, 0.25
    found = spent(count, days)
    told = judged(found, count, runs=runs, lifts=(lift,))
    asked = Asked(metrics=(Metric.of("revenue"),), planned=count)
    hits = 0
    for run in range(runs):
        layer, name = ("of homepage", "x") if run == 0 else (f"of homepage {run}", f"x {run}")
        owned = allotted(name, {"control": 500, "b": 500}, {}, ())
        treated = np.array([bucket_of(layer, one.decode()) in owned["b"] for one in ids(count)])
        for last in range(days):
            there = found.unit[(found.day <= last) & (found.adds[0] > 0)]
            values = np.bincount(found.unit, found.adds[1] * (found.day <= last), count)[there] + found.centres[0]
            codes = treated[there].astype(np.int64)
            table = Table(len(there), lifted(values, codes, lift), {"variant": Texts(codes, ("control", "b"))})
            [one] = report(table, "variant", asked).comparisons
            if not one.early and one.p < 0.05 and one.difference > 0.0:
                hits += 1
                break
    [power] = told.metrics[0].power
    assert 5 < hits < runs
    assert power.found == Rate(hits, runs)


def test_sound_traffic_is_certified_and_finds_nothing_more_often_than_promised() -> None:
    told = judged(spent(4000, 7), 4000, runs=300, lifts=(0.02, 0.5))
    [revenue] = told.metrics
    assert told.wrong == []
    assert told.verdict.startswith("Certified: 300 experiments without effect on 4,000 units of 7 days")
    assert (told.layers, revenue.looks) == (300, 300)
    assert revenue.daily.share <= 0.055
    assert 0.03 <= revenue.once.share <= 0.07
    assert revenue.peeking.share > 0.1
    assert int(told.balance.histogram.sum()) == 300
    assert told.balance.by_day[:, -1].sum() == 4000
    little, much = revenue.power
    assert (little.found.share < 0.2, much.found.share, much.days) == (True, 1.0, 2.0)
    assert little.need is not None
    assert little.need.fixed_units > 4000


def test_uneven_shares_and_a_holdout_keep_what_they_say() -> None:
    told = judged(spent(6000, 4), 6000, runs=40, shares={"control": 0.6, "b": 0.1, "c": 0.1}, holdout=0.2)
    assert told.wrong == []
    share = told.balance.by_day[:, -1] / 6000
    assert share == pytest.approx([0.48, 0.08, 0.08], abs=0.02)


def test_one_unit_that_makes_the_metric_is_named_and_a_cap_helps() -> None:
    first, unit = np.zeros(2000, np.int64), np.arange(2000)
    money = np.where(unit == 7, 2000.0, unit % 5)
    rich = judged(unit_days(first, amounts(unit, first, money), None, 1), 2000)
    assert rich.wrong == ["one unit makes 33.3% of revenue: cap it (--cap revenue=0.99)"]
    assert rich.verdict.startswith("Not certified: one unit makes 33.3% of revenue")
    assert judged(unit_days(first, amounts(unit, first, money), None, 1, cap=4.0), 2000).wrong == []


def test_too_few_buyers_for_an_interval_are_not_certified() -> None:
    first, unit = np.zeros(2000, np.int64), np.arange(60)
    told = judged(unit_days(first, amounts(unit, unit * 0, unit * 0 + 1.0), None, 1), 2000)
    assert told.metrics[0].looks == 0
    assert told.wrong == [
        "revenue had no interval in 60 of the runs: a variant needs 200 units, 50 of them with another value than "
        "most; give a longer recording, or another metric"
    ]


def test_a_metric_that_is_the_same_in_every_unit_needs_nothing_that_could_be_said() -> None:
    first, unit = np.zeros(600, np.int64), np.arange(600)
    same = amounts(unit, first, np.arange(600) % 3 + 1.0)
    told = judged(unit_days(first, same, same, 1), 600, lifts=(0.1,))
    assert told.metrics[0].mean == 1.0
    assert told.metrics[0].power[0].need is None


def test_a_rate_says_how_sure_it_is() -> None:
    assert Rate(8, 1000).ends == pytest.approx((0.00346, 0.01570), abs=1e-5)  # Clopper and Pearson
    assert Rate(0, 100).ends == pytest.approx((0.0, 0.03622), abs=1e-5)
    assert (Rate(73, 1000).is_above(0.05), Rate(74, 1000).is_above(0.05)) == (False, True)
