"""The report of an experiment: what is compared, what waits, and the sentence that the figures support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from contracts.errors import ImportFormatError, SettingsError
from experiments.asked import Asked, Metric, pairs_of
from experiments.decision import decision
from experiments.report import Report, by_segment, report
from experiments.tables import Table, Texts


def words(*values: str) -> Texts:
    names = tuple(dict.fromkeys(values))
    return Texts(np.array([names.index(one) for one in values], np.int64), names)


def shares(**hits_and_units: tuple[int, int]) -> Table:
    """A table with the column `bought`, 0 or 1: of each variant so many of so many units."""
    bought = [float(at < hits) for hits, units in hits_and_units.values() for at in range(units)]
    variants = [name for name, (_, units) in hits_and_units.items() for _ in range(units)]
    return Table(len(bought), {"bought": np.array(bought)}, {"variant": words(*variants)})


def asked(*metrics: str, **options: object) -> Asked:
    return Asked(tuple(Metric.of(name) for name in metrics), **options)  # type: ignore[arg-type]


def found_in(table: Table, **options: object) -> Report:
    return report(table, "variant", asked("bought", **options))


def test_a_clear_winner_is_shipped() -> None:
    found = found_in(shares(A=(300, 10_000), B=(400, 10_000)))
    [line] = found.comparisons
    assert line.figures == (0.03, 0.04)
    assert line.lift == pytest.approx(1.0 / 3.0)
    assert line.lift_ends == pytest.approx((0.0632, 0.6854), abs=1e-3)
    assert line.p == pytest.approx(0.00412, abs=1e-5)
    assert decision(found) == "Ship B: bought rises by 33.3% [+6.3%, +68.5%]."


def test_a_clear_loser_is_not() -> None:
    assert decision(found_in(shares(A=(400, 10_000), B=(300, 10_000)))).startswith(
        "Keep A: with B bought falls by 25.0%"
    )


def test_lower_may_be_better() -> None:
    metric = Metric.of("bought", lower_is_better=True)
    found = report(shares(A=(400, 10_000), B=(300, 10_000)), "variant", Asked((metric,)))
    assert decision(found).startswith("Ship B: bought falls by 25.0%")


def test_an_experiment_whose_units_do_not_hold_their_shares_is_not_believed() -> None:
    found = found_in(shares(A=(300, 10_000), B=(400, 9_000)))
    assert decision(found).startswith("Stop, and find where units are lost: the variants do not hold the shares")
    assert not found_in(shares(A=(300, 10_000), B=(270, 9_000)), shares={"A": 10, "B": 9}).ratio.is_broken


def test_nothing_is_decided_before_it_can_be() -> None:
    table = shares(A=(300, 10_000), B=(320, 10_000))
    assert decision(found_in(table, planned=50_000)).startswith(
        "Go on: after 20,000 of 50,000 planned units the change"
    )
    assert decision(found_in(table)).startswith("Stop, or plan for more: the planned 20,000 units are in")


def test_few_units_are_believed_rather_than_measured() -> None:
    found = found_in(shares(A=(3, 100), B=(9, 100)))
    [line] = found.comparisons
    assert np.isnan(line.p)
    assert line.belief is not None
    assert line.belief.better == pytest.approx(0.9599, abs=1e-3)
    assert decision(found) == (
        "Wait: bought of B has too few units for an interval (100 units, needs 200); "
        "so far B is better with a chance of 96%."
    )
    assert (
        found_in(shares(A=(30, 1000), B=(90, 1000))).comparisons[0].early == "30 with another value than most, needs 50"
    )


def test_of_several_treatments_each_is_compared_and_the_family_corrected() -> None:
    found = found_in(shares(A=(300, 10_000), B=(400, 10_000), C=(300, 10_000)), planned=30_000)
    b, c = found.comparisons
    assert (b.treatment, c.treatment) == ("B", "C")
    assert b.corrected == pytest.approx(2.0 * b.p)
    assert c.corrected == 1.0


def with_more(table: Table, **columns: Sequence[float]) -> Table:
    numbers: Mapping[str, np.ndarray] = {name: np.array(values, np.float64) for name, values in columns.items()}  # type: ignore[type-arg]
    return Table(table.rows, {**table.numbers, **numbers}, table.texts)


def test_a_broken_guardrail_stops_a_winner() -> None:
    rng = np.random.default_rng(1)
    table = shares(A=(300, 10_000), B=(400, 10_000))
    pages = rng.poisson(np.repeat([5.0, 4.5], 10_000)).astype(float)
    metrics = asked("bought", "pages", guardrails=frozenset({"pages"}))
    found = report(with_more(table, pages=pages), "variant", metrics)
    assert decision(found).startswith("Stop B: guardrail pages falls by 9.7% [-11.5%, -7.9%].")


def test_the_past_of_a_visitor_narrows_the_interval_and_may_be_missing() -> None:
    rng = np.random.default_rng(2)
    table, before = shares(A=(300, 2000), B=(300, 2000)), rng.normal(10.0, 3.0, 4000)
    more = {"spent": before + rng.normal(0.0, 1.0, 4000), "before": np.where(rng.random(4000) < 0.1, np.nan, before)}
    metrics = Asked((Metric.of("spent", past="before"), Metric.of("spent_plain")))
    found = report(with_more(table, **more, spent_plain=more["spent"]), "variant", metrics)
    past, plain = found.comparisons
    assert past.explained == pytest.approx(0.81, abs=0.03)
    assert (past.ends[1] - past.ends[0]) / (plain.ends[1] - plain.ends[0]) == pytest.approx(0.44, abs=0.03)
    assert found.filled["spent"] == 466


def test_a_cap_is_taken_of_all_variants_together() -> None:
    values = [0.0] * 1990 + [10.0] * 9 + [1e6] + [0.0] * 1990 + [10.0] * 10
    metrics = Asked((Metric.of("revenue", cap_share=0.9),))
    [line] = report(with_more(shares(A=(1, 2000), B=(1, 2000)), revenue=values), "variant", metrics).comparisons
    assert line.cap == 10.0
    assert line.figures == (0.05, 0.05)


def test_a_fixed_horizon_is_narrower_and_says_that_it_is_for_one_look() -> None:
    pytest.importorskip("tea_tasting", reason="needs the experiments extra")
    table = shares(A=(300, 10_000), B=(340, 10_000))
    [fixed], [valid] = (found_in(table, fixed=one).comparisons for one in (True, False))
    assert fixed.p == pytest.approx(0.1077, abs=1e-3)
    assert (fixed.ends[1] - fixed.ends[0]) / (valid.ends[1] - valid.ends[0]) == pytest.approx(1.96 / 3.035, abs=1e-3)
    assert decision(found_in(table, fixed=True)).endswith("no second look can be taken at a fixed horizon.")


def test_segments_are_reported_apart_and_corrected_together() -> None:
    table = shares(A=(300, 10_000), B=(400, 10_000))
    device = words(*(["phone"] * 6000 + ["desk"] * 4000) * 2)
    table = Table(table.rows, table.numbers, {**table.texts, "device": device})
    parts = by_segment(table, "variant", "device", asked("bought"))
    assert list(parts) == ["phone", "desk"]
    assert parts["phone"].comparisons[0].figures == pytest.approx((0.05, 400 / 6000))
    assert parts["desk"].comparisons[0].early.endswith("needs 50")
    assert parts["phone"].comparisons[0].corrected == parts["phone"].comparisons[0].p


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (shares(A=(1, 9)), {}, "expected 2 to 20 variants, got 1: A"),
        (shares(X=(1, 9), Y=(1, 9)), {}, "expected the control among the variants X, Y, got ''"),
        (shares(A=(1, 9), B=(1, 9)), {"control": "C"}, "expected the control among the variants A, B, got 'C'"),
        (shares(A=(1, 9), B=(1, 9)), {"shares": {"A": 1.0}}, "expected a share of each variant A, B, got those of A"),
        (shares(A=(1, 9), B=(1, 1)), {}, "expected two units of each variant at least, got 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(table: Table, options: dict[str, object], said: str) -> None:
    with pytest.raises(ImportFormatError, match=said):
        found_in(table, **options)


def test_an_empty_cell_of_a_metric_is_refused() -> None:
    table = with_more(shares(A=(1, 9), B=(1, 9)), clicks=[1.0] * 17 + [float("nan")])
    with pytest.raises(ImportFormatError, match="expected a number in every row of 'clicks', got 1 empty"):
        report(table, "variant", asked("clicks"))


def test_a_ratio_of_nothing_is_refused() -> None:
    table = with_more(shares(A=(1, 9), B=(1, 9)), pages=[1.0] * 9 + [0.0] * 9)
    with pytest.raises(ImportFormatError, match="expected a sum above 0 of 'pages' in each variant"):
        report(table, "variant", asked("bought/pages"))


def test_what_is_asked_is_checked() -> None:
    with pytest.raises(SettingsError, match="expected a metric at least"):
        Asked(())
    with pytest.raises(SettingsError, match="expected guardrails among the metrics a, got 'b'"):
        asked("a", guardrails=frozenset({"b"}))
    with pytest.raises(SettingsError, match="expected a correction of holm, benjamini-hochberg, none, got 'bonf'"):
        asked("a", correction="bonf")
    with pytest.raises(SettingsError, match="expected a covariate of the form of its metric 'a/b', got 'c'"):
        Metric.of("a/b", past="c")
    with pytest.raises(SettingsError, match=r"expected a cap of 0\.5 to 1"):
        Metric.of("a", cap_share=1.5)
    with pytest.raises(SettingsError, match="expected each metric once, got a, a"):
        asked("a", "a")
    with pytest.raises(SettingsError, match="--share: expected NAME=VALUE, each name once, got 'A'"):
        pairs_of(["A"], "--share")
    assert pairs_of(["clicks/pages=past/pages"], "--covariate") == {"clicks/pages": "past/pages"}
