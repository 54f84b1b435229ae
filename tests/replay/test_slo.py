from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from contracts.errors import SettingsError
from replay.engine.play import FAILED, TAKEN, Limits, Played
from replay.measure.histogram import Histogram
from replay.measure.limit import Limit, Search, find_limit
from replay.measure.live import AnswerCounts
from replay.measure.objectives import Slo, failures, measured
from replay.measure.result import PlayResult, result_of
from replay.measure.tally import Tally
from replay.measure.visible import Visible


def result(
    took_ms: list[float], failed: int = 0, answers_ms: list[float] | None = None, fresh: float = 0
) -> PlayResult:
    """A run of evenly sent events that took this long each."""
    played = Played(accepted=len(took_ms) - failed, elapsed_s=2.0, failed=Counter({"status 500": failed}))
    for n, took in enumerate(took_ms):
        played.timings.add(n / 100, n / 100, n / 100 + took / 1000)
        played.outcomes.append(FAILED if n < failed else TAKEN)
        played.lag_s.append(0.0)
    asked = visible = None
    if answers_ms is not None:
        asked = AnswerCounts(hits=len(answers_ms) // 4)
        for n, took in enumerate(answers_ms):
            asked.timings.add(n / 100, n / 100, n / 100 + took / 1000)
            asked.flags.append(12 if n < asked.hits else 8)
            asked.ranks[n] = int(n < asked.hits)
    if fresh:
        visible = Visible(never=1)
        for _ in range(9):
            visible.timings.add(0.0, 0.0, fresh / 1000)
    tally = Tally.of(played, Limits(), asked, visible)
    return result_of(tally, run="r", recording="x", target="t", pace="p")


def test_conditions_are_checked_against_what_was_measured() -> None:
    run = result([*[10.0] * 98, 60.0, 70.0], failed=1, answers_ms=[20.0] * 8, fresh=150)
    slo = Slo.parse(
        "p99<50ms, events_p50<=0.1s,errors<1%, answers_p99>15ms,hit_rate>=0.25,fresh_p99<200ms,never<=0.1,rate>49/s"
    )
    checked = slo.check(run)
    assert [one.ok for one in checked] == [False, True, True, True, True, True, True, True]
    (broken,) = failures(checked)
    assert broken.condition.text == "p99<50ms"
    assert broken.value == pytest.approx(60, rel=0.005)
    assert measured(run, "max") == pytest.approx(70.0)
    assert measured(run, "errors") == pytest.approx(1 / 108)


def test_what_was_not_measured_does_not_hold() -> None:
    checked = Slo.parse("fresh_p99<200ms, hit_rate>=0, degraded<5%").check(result([1.0]))
    assert [(one.ok, one.value) for one in checked] == [(False, None)] * 3
    assert str(checked[0]) == "fresh_p99<200ms: not measured"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p99=50ms", "expected a condition such as"),
        ("", "expected a condition such as"),
        ("p99<50", "expected a time in us, ms or s"),
        ("p99<50%", "expected a time"),
        ("errors<5ms", "expected a share"),
        ("p101<1s", "percentile up to 100"),
        ("speed<5ms", "expected one of p99"),
        ("other_p99<5ms", "expected one of p99"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Slo.parse(text)


class Target:
    """A target that takes 5 ms up to its capacity and half a second above it."""

    def __init__(self, capacity: float, sender: float = 1e9) -> None:
        self.capacity, self.sender = capacity, sender
        self.tried: list[float] = []

    async def play_at(self, rate: float, seconds: float) -> PlayResult:
        self.tried.append(rate)
        run = result([5.0 if rate <= self.capacity else 500.0] * 20)
        return replace(run, invalid=("the sender was the bottleneck",), bottleneck=True) if rate > self.sender else run


async def search(target: Target, **options: float) -> Limit:
    return await find_limit(target.play_at, Slo.parse("p99<50ms"), Search(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("capacity", [60.0, 333.0, 1000.0, 4321.0])
async def test_the_limit_is_found_within_the_precision_and_confirmed(capacity: float) -> None:
    target = Target(capacity)
    found = await search(target, start=50, precision=0.05)
    assert found.rate is not None
    assert capacity / 1.06 <= found.rate <= capacity
    assert (found.steps[-1].phase, found.steps[-1].ok) == ("confirming", True)
    assert len(found.steps) <= 15
    assert found.note == ""


async def test_a_target_that_is_slower_than_the_first_rate_is_searched_below_it() -> None:
    found = await search(Target(10.0), start=50, precision=0.1)
    assert found.rate is not None
    assert 9 <= found.rate <= 10


async def test_a_target_that_never_holds_has_no_limit_and_the_search_ends() -> None:
    target = Target(0.0)
    found = await search(target, start=50)
    assert found.rate is None
    assert "not even the lowest held" in found.note
    assert len(target.tried) <= 6


async def test_a_limit_that_is_the_senders_says_so() -> None:
    found = await search(Target(1e9, sender=700.0), start=50)
    assert found.rate is not None
    assert found.rate <= 700
    assert "the sender's own limit" in found.note


async def test_the_ceiling_is_tried_and_named() -> None:
    target = Target(1e9)
    found = await search(target, start=50, ceiling=300)
    assert found.rate == 300
    assert max(target.tried) == 300
    assert "ceiling" in found.note


async def test_a_rate_that_is_not_confirmed_is_tried_lower() -> None:
    class Tiring(Target):
        async def play_at(self, rate: float, seconds: float) -> PlayResult:
            if seconds > 10:
                self.capacity = 80.0
            return await super().play_at(rate, seconds)

    found = await search(Tiring(100.0), start=50, precision=0.05)
    assert found.rate is not None
    assert 60 < found.rate <= 80
    assert [step.ok for step in found.steps if step.phase == "confirming"][-1]


def test_a_search_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="start up to the ceiling"):
        Search(start=100, ceiling=50)


def test_the_histogram_of_all_requests_has_events_and_answers() -> None:
    run = result([10.0, 20.0], answers_ms=[30.0])
    assert isinstance(run.histograms["requests"], Histogram)
    assert run.histograms["requests"].percentiles().count == 3
    assert np.isclose(run.histograms["requests"].max, 30.0)
