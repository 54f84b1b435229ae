from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import SettingsError
from replay.engine.pacer import Curve, Peak, RateProfile, TimesFaster, Warped, parse_duration

RATES = st.floats(min_value=0.1, max_value=1e4)
SPANS = st.lists(st.tuples(st.floats(min_value=0.0, max_value=100.0), RATES), min_size=1, max_size=6)


def events_by(profile: RateProfile, second: float) -> float:
    """Return how many events are due by then: the area under the rates, which stay as the last one is."""
    last = profile.points[-1]
    found = max(0.0, second - last[0]) * last[1]
    for (start, low), (end, high) in pairwise(profile.points):
        until = min(end, second)
        if until > start:
            at = low + (high - low) * (until - start) / (end - start)
            found += (until - start) * (low + at) / 2.0
    return found


def along_time(spans: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Points from (seconds since the last one, level); the first is at 0."""
    seconds = np.cumsum([0.0, *(span for span, _ in spans[1:])])
    return tuple((float(second), level) for second, (_, level) in zip(seconds, spans, strict=True))


@given(RATES | st.just(0.0), RATES, st.floats(min_value=0.1, max_value=1000))
def test_a_ramp_sends_the_mean_of_its_rates_and_then_goes_on_evenly(start: float, end: float, over_s: float) -> None:
    ramp = RateProfile.ramp(start, end, over_s)
    assert events_by(ramp, over_s) == pytest.approx((start + end) / 2 * over_s)
    assert events_by(ramp, over_s + 10) - events_by(ramp, over_s) == pytest.approx(10 * end)


@given(SPANS, st.integers(min_value=0, max_value=10**7))
def test_an_event_is_due_when_the_profile_has_counted_up_to_it(spans: list[tuple[float, float]], index: int) -> None:
    profile = RateProfile(along_time(spans))
    due_s = profile.offset_s(index, 0, 0)
    assert events_by(profile, due_s) == pytest.approx(index, rel=1e-6, abs=1e-6)


@given(SPANS)
def test_due_times_of_a_profile_never_fall(spans: list[tuple[float, float]]) -> None:
    profile = RateProfile(along_time(spans))
    due = [profile.offset_s(index, 0, 0) for index in range(500)]
    assert due == sorted(due)
    assert due[0] == pytest.approx(0.0, abs=1e-300)


def test_a_ramp_from_nothing_sends_its_events_ever_faster() -> None:
    ramp = RateProfile.parse_ramp("0..10@10s")  # 50 events in 10 s, the first 12.5 in the first half
    assert [ramp.offset_s(index, 0, 0) for index in (0, 50, 60)] == pytest.approx([0.0, 10.0, 11.0])
    assert events_by(ramp, 5.0) == 12.5


def test_a_tenfold_peak_at_a_rate_sends_ten_times_as_much_while_it_lasts() -> None:
    shaped = RateProfile.along(100.0, Curve.with_peaks((Peak.parse("10x@00:30+00:10"),)))
    counted = [events_by(shaped, second) for second in (30.0, 40.0, 50.0)]
    assert counted == pytest.approx([3000, 13_000, 14_000])


def test_a_peak_of_the_recorded_rhythm_is_over_in_a_tenth_of_its_time() -> None:
    warped = Warped(1.0, Curve.with_peaks((Peak(10.0, 30.0, 10.0),)))
    due = [warped.offset_s(0, second * 1000, 0) for second in (0, 30, 35, 40, 50)]
    assert due == pytest.approx([0.0, 30.0, 30.5, 31.0, 41.0])


@given(SPANS, RATES, st.lists(st.floats(min_value=0, max_value=1000), min_size=2, max_size=30).map(sorted))
def test_warped_times_never_fall_and_are_the_integral_of_one_over_the_curve(
    spans: list[tuple[float, float]], speed: float, seconds: list[float]
) -> None:
    points = along_time(spans)
    warped = Warped(speed, Curve(points))
    due = [warped.offset_s(0, round(second * 1000), 0) for second in seconds]
    assert all(later >= sooner - 1e-9 for sooner, later in pairwise(due))
    span = np.linspace(0.0, round(seconds[-1] * 1000) / 1000, 20_001)
    middles = (span[1:] + span[:-1]) / 2
    level = np.interp(middles, [second for second, _ in points], [level for _, level in points])
    lowest = min(level for _, level in points)
    assert due[-1] <= span[-1] / lowest / speed + 1e-9
    if len({second for second, _ in points}) == len(points) and all(span >= 1.0 for span, _ in spans[1:]):
        steepest = max(level for _, level in points) / lowest
        if steepest < 100:
            assert due[-1] == pytest.approx(float(np.sum(np.diff(span) / level)) / speed, rel=1e-2, abs=1e-9)


@given(st.floats(min_value=0.1, max_value=1e4), st.integers(min_value=0, max_value=10**9))
def test_a_level_curve_is_a_speed(speed: float, ts_ms: int) -> None:
    warped, faster = Warped(speed, Curve(((0.0, 2.0),))), TimesFaster(2 * speed)
    assert warped.offset_s(0, ts_ms, 0) == pytest.approx(faster.offset_s(0, ts_ms, 0))


def test_a_curve_is_read_from_a_file_and_its_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "sale.csv"
    path.write_text("time,multiplier\n# the doors open\n00:00,1\n01:00,4\n2m,1\n")
    assert Curve.read(path).points == ((0.0, 1.0), (60.0, 4.0), (120.0, 1.0))
    path.write_text("00:00,1\n01:00;4\n")
    with pytest.raises(SettingsError, match=r"sale.csv:2: expected time,multiplier .* got '01:00;4'"):
        Curve.read(path)
    path.write_text("01:00,1\n00:30,4\n")
    with pytest.raises(SettingsError, match="in order of time"):
        Curve.read(path)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("01:30", 90), ("00:01:30", 90), ("1.5m", 90), ("2h", 7200), ("250ms", 0.25), ("0.5", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("wrong", ["", "1:2:3:4", "ten", "-5", "5d"])
def test_what_is_no_duration_is_refused(wrong: str) -> None:
    with pytest.raises(SettingsError, match="expected a duration"):
        parse_duration(wrong)


@pytest.mark.parametrize("wrong", ["10@00:30+00:10", "10x@00:30", "0x@1+1", "x@1+1"])
def test_what_is_no_peak_is_refused(wrong: str) -> None:
    with pytest.raises(SettingsError, match="expected a peak"):
        Peak.parse(wrong)


def test_peaks_that_overlap_a_ramp_to_nothing_and_a_zero_multiplier_are_refused() -> None:
    with pytest.raises(ValueError, match="one after the other"):
        Curve.with_peaks((Peak(2, 0, 10), Peak(3, 5, 10)))
    with pytest.raises(SettingsError, match="last above 0"):
        RateProfile.parse_ramp("5..0@10s")
    with pytest.raises(ValueError, match="above 0"):
        Curve(((0.0, 0.0),))
