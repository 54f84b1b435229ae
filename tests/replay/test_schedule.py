from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.engine.choices import Times
from replay.engine.pacer import FixedRate, Pace, TimesFaster
from replay.engine.schedule import Planned, Rewriting, schedule

RAW = [
    orjson.dumps({"event_id": "a", "session_id": "s", "item_id": "i", "ts": 1_000}),
    orjson.dumps({"event_id": "b", "session_id": "s", "item_id": "j", "ts": 61_000}),
]


def plan(pace: Pace, rewriting: Rewriting, limit: int | None = None) -> list[Planned]:
    return list(schedule(RAW, pace, rewriting, start_ms=9_000_000, limit=limit))


def test_a_recorded_minute_at_sixty_times_takes_a_second() -> None:
    assert [planned.offset_s for planned in plan(TimesFaster(60), Rewriting("r"))] == [0.0, 1.0]


def test_a_fixed_rate_ignores_the_recorded_rhythm() -> None:
    assert [planned.offset_s for planned in plan(FixedRate(4), Rewriting("r"))] == [0.0, 0.25]


def test_live_times_are_the_moments_at_which_events_are_due() -> None:
    assert [planned.fields["ts"] for planned in plan(TimesFaster(60), Rewriting("r"))] == [9_000_000, 9_001_000]


def test_recorded_times_are_kept_when_asked() -> None:
    assert [planned.fields["ts"] for planned in plan(TimesFaster(60), Rewriting("r", time=Times.RECORDED))] == [
        1_000,
        61_000,
    ]


def test_ids_carry_the_run_so_that_a_second_replay_is_not_a_duplicate() -> None:
    first, second = plan(TimesFaster(60), Rewriting("r1"))[0], plan(TimesFaster(60), Rewriting("r2"))[0]
    assert (first.fields["event_id"], first.fields["session_id"], first.session_id) == ("r1-a", "r1-s", "r1-s")
    assert second.fields["event_id"] == "r2-a"
    kept = plan(TimesFaster(60), Rewriting("r1", rename_sessions=False))[0]
    assert (kept.fields["event_id"], kept.session_id) == ("r1-a", "s")


def test_a_limit_ends_the_plan() -> None:
    assert [planned.index for planned in plan(FixedRate(1), Rewriting("r"), limit=1)] == [0]


@pytest.mark.parametrize("wrong", [0, -1, float("nan")])
def test_a_pace_that_never_arrives_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        TimesFaster(wrong)
    with pytest.raises(ValueError, match="above 0"):
        FixedRate(wrong)


TIMES = st.lists(st.integers(min_value=0, max_value=10**13), min_size=1).map(sorted)


@given(TIMES, st.floats(min_value=0.1, max_value=1e5), st.booleans())
def test_due_times_start_at_zero_and_never_fall(times: list[int], factor: float, fixed: bool) -> None:
    pace: Pace = FixedRate(factor) if fixed else TimesFaster(factor)
    due = [pace.offset_s(index, ts_ms, times[0]) for index, ts_ms in enumerate(times)]
    assert due[0] == 0.0
    assert due == sorted(due)


@given(TIMES, st.floats(min_value=0.5, max_value=1e4))
def test_twice_the_speed_halves_every_due_time(times: list[int], speed: float) -> None:
    for index, ts_ms in enumerate(times):
        once = TimesFaster(speed).offset_s(index, ts_ms, times[0])
        assert TimesFaster(2 * speed).offset_s(index, ts_ms, times[0]) == pytest.approx(once / 2)
