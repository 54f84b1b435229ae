"""What a look makes of units, and what the judge does about it: pure, with literals."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.participants import Participant, Participants
from contracts.api_keys import revoked
from contracts.errors import KeyRefused
from contracts.experiment_reports import ExperimentReport, Look, decode_report, encode_report
from contracts.experiments import ExperimentVersion
from experiments.decision import Verdict
from judge.action import DAY_MS, action_of
from judge.history import thinned
from judge.lag import Lag
from judge.own_key import NAME, made_of
from judge.pace import is_judged, next_look_s
from judge.report import Seen, judged
from judge.shares import expected_shares
from judge.told import lines_of, untold
from tests.judge.planted import MASKS, published

SHIP = Verdict("ship", "b", "Ship b.")
STOP = Verdict("stop", "b", "Stop b: guardrail.")


def unit(n: int, variant: str, clicks: int, orders: int = 0, device: str = "phone") -> Participant:
    return Participant(f"{variant}{n}", variant, device, "", 4, 32, clicks, 0, orders, orders, 10.0 * orders)


def two(units: int = 400, more: int = 1) -> list[Participant]:
    control = [unit(n, "control", n % 2, n % 2) for n in range(units)]
    return [*control, *(unit(n, "b", n % 2 + more, n % 2) for n in range(units))]


def looked(rows: list[Participant], shares: list[float] | None = [1, 1], **fields: Any) -> ExperimentReport:  # noqa: B006
    before = fields.pop("before", None)
    at_ms = fields.pop("at_ms", 1000)
    found = Participants(rows, 3, 5, 0, ["EUR"])
    return judged(Seen(published(**fields), found, shares, before, at_ms, 0.0))[0]


def test_a_report_says_what_its_units_did() -> None:
    report = looked(two(), guardrails=["revenue"])
    assert (report.verdict, report.metric, report.currency) == ("ship", "clicks/pages", "EUR")
    assert report.decision.startswith("Ship b: clicks/pages rises by 200.0% [+")
    assert report.left_out == {"switched": 3, "held_out": 5, "testers": 0, "others": 0}
    assert report.figures["control"] == {
        **{"pages": 1600.0, "shown": 12800.0, "clicks": 200.0, "carts": 0.0, "orders": 200.0, "revenue": 2000.0}
    }
    primary, guardrail = report.comparisons
    assert (primary.figures, primary.difference, primary.lift, primary.guardrail) == ([0.125, 0.375], 0.25, 2.0, False)
    assert (guardrail.metric, guardrail.guardrail) == ("revenue", True)
    assert (guardrail.figures, guardrail.lift) == ([5.0, 5.0], 0.0)
    assert report.segments["device"]["phone"][0].lift == 2.0
    assert [(look.units, look.treatment, look.lift) for look in report.history] == [(800, "b", 2.0)]
    assert decode_report(encode_report(report)) == report


def test_testers_and_units_of_variants_that_are_gone_do_not_count() -> None:
    report = looked([*two(), unit(0, "old", 9)], overrides={"b0": "b", "b1": "b"})
    assert report.units == {"control": 400, "b": 398}
    assert (report.left_out["testers"], report.left_out["others"]) == (2, 1)


def test_lower_may_be_better() -> None:
    assert looked(two(), lower_is_better=True).verdict == "keep"


def test_before_there_are_units_it_waits() -> None:
    for rows, said in [
        ([], "Wait: control has too few units (0 units, needs 200)."),
        (two(3), "Wait: clicks/pages of b has too few units for an interval (3 units, needs 200)."),
        ([one._replace(pages=0) for one in two()], "Wait: expected a sum above 0 of 'pages' in each variant"),
    ]:
        report = looked(rows)
        assert (report.verdict, report.decision[: len(said)]) == ("wait", said)
        assert decode_report(encode_report(report)) == report


def test_a_variant_that_lost_all_its_units_stops_the_experiment() -> None:
    report = looked([one for one in two() if one.variant == "control"])
    assert (report.verdict, report.comparisons) == ("ratio", [])
    assert report.sample_ratio is not None
    assert (report.sample_ratio.counts, report.sample_ratio.shares) == (
        {"control": 400, "b": 0},
        {"control": 0.5, "b": 0.5},
    )


def test_shares_that_changed_on_the_way_are_not_held_against_the_units() -> None:
    report = looked(two()[:600], shares=None)
    assert (report.units, report.sample_ratio, report.verdict) == ({"control": 400, "b": 200}, None, "ship")
    assert looked(two()[:600], shares=[1, 1]).verdict == "ratio"


def test_a_metric_of_before_they_were_checked_is_not_looked_at() -> None:
    report = looked(two(), metric="margin")
    assert (report.verdict, report.comparisons, report.segments) == ("nothing", [], {})
    assert report.decision.startswith("Nothing is shown: expected one of pages, shown, clicks, carts,")


def test_an_interleaved_experiment_is_judged_by_its_credits_alone() -> None:
    found = looked(two(), allocation={"kind": "interleaving"})
    assert (found.verdict, found.comparisons) == ("nothing", [])
    assert "`nextclick experiment units`, then `experiment report`, say which is preferred" in found.decision


def test_a_bandit_has_no_shares_to_hold() -> None:
    version = published(allocation={"kind": "bandit"})
    assert expected_shares(version, [version]) is None
    found = looked(two(more=2), None, allocation={"kind": "bandit"})
    assert (found.verdict, found.sample_ratio) == ("ship", None)


def test_history_goes_on_within_a_run_and_a_metric() -> None:
    first = looked(two(), at_ms=1000)
    assert [look.at_ms for look in looked(two(), before=first, at_ms=2000).history] == [1000, 2000]
    assert [look.at_ms for look in looked(two(), before=first, at_ms=2000, metric="orders").history] == [2000]
    assert [look.at_ms for look in looked(two(), before=first, at_ms=2000, now_ms=7).history] == [2000]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=500, unique=True), st.integers(1, 3))
def test_a_thinned_history_keeps_its_ends_its_order_and_whole_looks(times: list[int], treatments: int) -> None:
    names = "bcd"[:treatments]
    looks = [look_at(at_ms, name) for at_ms in sorted(times) for name in names]
    kept = thinned(looks)
    assert len({look.at_ms for look in kept}) <= 200
    assert (kept[0], kept[-1]) == (looks[0], looks[-1])
    assert [look for look in looks if look in kept] == kept
    assert len(kept) == treatments * len({look.at_ms for look in kept})


def test_a_history_of_even_looks_stays_even() -> None:
    looks: list[Look] = []
    for minute in range(2000):
        looks = thinned([*looks, look_at(60_000 * minute, "b")])
    apart = [(after.at_ms - before.at_ms) / 60_000 for before, after in pairwise(looks)]
    assert (len(looks), max(apart)) == (200, 14.0)  # evenly would be 10


def look_at(at_ms: int, treatment: str) -> Look:
    return Look(at_ms=at_ms, units=1, treatment=treatment, figures=[1, 2], lift=1, lift_ends=[0, 1])


@pytest.mark.parametrize(
    ("verdict", "fields", "done", "held"),
    [
        (SHIP, {}, None, "`promote_winner` is false"),
        (SHIP, {"promote_winner": True}, None, "it has run for 2.0 of 7 days (`minimum_days`)"),
        (SHIP, {"promote_winner": True, "minimum_days": 2}, ("promote", "b", "Ship b."), None),
        (STOP, {}, ("stop", "", "Stop b: guardrail."), None),
        (Verdict("ratio", "", "Stop."), {}, ("stop", "", "Stop."), None),
        (STOP, {"stop_on_guardrail": False}, None, "`stop_on_guardrail` is false"),
        (Verdict("keep", "", "Keep a."), {"promote_winner": True}, None, None),
        (Verdict("go_on", "", "Go on."), {"promote_winner": True}, None, None),
        (Verdict("nothing", "", "Stop, or plan for more."), {}, None, None),
    ],
)
def test_what_is_done_about_a_verdict(
    verdict: Verdict, fields: dict[str, Any], done: tuple[str, str, str] | None, held: str | None
) -> None:
    version = published(**fields)
    assert action_of(version, verdict, now_ms=2 * DAY_MS, lag_s=0.0, max_lag_s=120.0) == (done, held)


def test_nothing_is_done_on_figures_that_are_too_old() -> None:
    late = {"now_ms": 0, "max_lag_s": 120.0}
    assert action_of(published(), STOP, lag_s=121.0, **late) == (
        None,
        "the figures are 121 s behind the log, expected at most 120 (judge.max_lag)",
    )
    assert action_of(published(), STOP, lag_s=120.0, **late)[0] is not None


def test_lag_is_the_age_of_the_newest_moment_of_which_all_is_counted() -> None:
    lag = Lag()
    assert lag.behind_s(0, {}) is None
    lag.seen(1_000, {"clicks:0": 5, "impressions:0": 2})
    assert lag.behind_s(1_000, {"clicks:0": 5}) is None
    assert lag.behind_s(1_000, {"clicks:0": 5, "impressions:0": 2}) == 0.0
    lag.seen(61_000, {"clicks:0": 50, "impressions:0": 2})
    assert lag.behind_s(61_000, {"clicks:0": 49, "impressions:0": 2}) == 60.0
    lag.seen(121_000, {"clicks:0": 90, "impressions:0": 2})
    assert lag.behind_s(121_000, {"clicks:0": 60, "impressions:0": 2}) == 60.0
    assert lag.behind_s(121_000, {"clicks:0": 95, "impressions:0": 2}) == 0.0


def test_an_experiment_is_judged_from_its_start_until_its_units_have_bought() -> None:
    version = published(start="2026-01-01T00:00:00Z", end="2026-01-02T00:00:00Z")
    begin = 1_767_225_600_000
    judged_at = [is_judged(version, begin + at, 1000) for at in (-1, 0, DAY_MS, DAY_MS + 999, DAY_MS + 1000)]
    assert judged_at == [False, True, True, True, False]
    assert not is_judged(published(stopped_ms=5), 6, 1000)


def test_a_look_that_takes_long_comes_less_often() -> None:
    assert (next_look_s(60.0, 0.1), next_look_s(60.0, 3.0), next_look_s(60.0, 10.0)) == (60.0, 60.0, 200.0)


def test_shares_are_those_of_the_buckets_until_they_change() -> None:
    version = published(5, version=2)
    grown = published(5).model_copy(update={"buckets": {**MASKS, "b": "ff"}})
    assert expected_shares(version, [published(5), version]) == [500.0, 500.0]
    assert expected_shares(version, [grown, version]) is None
    assert expected_shares(version, [grown.model_copy(update={"started_ms": 1}), version]) == [500.0, 500.0]


def test_a_line_is_told_of_what_the_judge_ended_lately() -> None:
    ended: dict[str, Any] = {"stopped_ms": 50, "why": "because", "by": "judge, key 00"}
    versions: list[ExperimentVersion] = [
        published(**ended, promoted="b"),
        published(**{**ended, "by": "judge"}, version=3),
        published(**{**ended, "by": "00"}),
        published(by="judge"),
    ]
    lines = lines_of(versions, 100)
    assert [(line.at_ms, line.who, line.what, line.outcome) for line in lines] == [
        (50, "judge", "experiment x, version 1: promoted b", "because"),
        (50, "judge", "experiment x, version 3: stopped", "because"),
    ]
    assert untold(lines, {"experiment x, version 1: promoted b"}) == lines[1:]
    assert lines_of(versions, 50 + DAY_MS) == []


def test_the_judge_has_one_key_and_none_once_it_was_revoked() -> None:
    first, _ = made_of([], 1)
    again, _ = made_of([first.key], 2)
    assert (again.key.id, again.key.name, len(again.key.secrets)) == (first.key.id, NAME, 1)
    assert again.text != first.text
    with pytest.raises(KeyRefused, match="was revoked: give the judge one of scope `catalogue`"):
        made_of([revoked(again.key, now_ms=3)], 4)
