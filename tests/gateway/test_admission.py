"""Under overload those are taken in who are answered soon; the rest hear so at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.admission import Admission
from gateway.coalesce import Overloaded
from tests.gateway.conftest import Start, problem


def test_whoever_would_wait_too_long_is_refused_and_taken_when_others_have_left() -> None:
    admission = Admission(0.040, pace_s=0.010)
    for _ in range(5):
        admission.enter()
    with pytest.raises(Overloaded, match="wait at most 40 ms, it would wait 50: retry"):
        admission.enter()
    admission.leave()
    admission.enter()
    assert admission.inside == 5


def test_one_who_finds_nobody_before_is_taken_however_slow_answers_are() -> None:
    admission = Admission(0.040, pace_s=10.0)
    admission.enter()
    with pytest.raises(Overloaded):
        admission.enter()


def test_without_a_limit_nobody_is_refused() -> None:
    admission = Admission(0.0, pace_s=10.0)
    for _ in range(1000):
        admission.enter()
    assert admission.inside == 1000


def test_the_pace_is_learnt_from_full_batches_and_from_the_work_between_them() -> None:
    admission = Admission(0.100, pace_s=0.004)
    admission.answered(1.000, 1.010, 10, between=0.5, backlog=True)  # 1 ms each; there was no batch before
    assert admission.pace_s == pytest.approx(0.004 + 0.2 * (0.001 - 0.004))
    before = admission.pace_s
    admission.answered(1.020, 1.030, 10, between=0.010, backlog=True)  # 2 ms each, with the work between
    assert admission.pace_s == pytest.approx(before + 0.2 * (0.002 - before))


def test_time_in_which_the_process_had_nothing_to_do_does_not_count() -> None:
    admission = Admission(0.100, pace_s=0.001)
    admission.answered(1.000, 1.016, 16, backlog=True)
    admission.answered(1.066, 1.082, 16, between=0.0, backlog=True)
    assert admission.pace_s == pytest.approx(0.001)


def test_no_more_work_counts_than_time_has_passed() -> None:
    admission = Admission(0.100, pace_s=0.001)
    admission.answered(1.000, 1.010, 10, backlog=True)
    admission.answered(1.020, 1.030, 10, between=9.0, backlog=True)  # of several threads, or of a batch long ago
    assert admission.pace_s == pytest.approx(0.001 + 0.2 * 0.001)


def test_a_pause_of_the_machine_counts_as_five_times_the_usual_at_most() -> None:
    admission = Admission(0.100, pace_s=0.001)
    admission.answered(1.0, 9.0, 1, backlog=True)
    assert admission.pace_s == pytest.approx(0.001 + 0.2 * 0.004)


def test_small_batches_that_nobody_waits_behind_say_nothing_of_a_full_one() -> None:
    admission = Admission(0.040, pace_s=0.001)
    for at in range(100):  # one at a time, 8 ms each, while others read their sessions
        admission.enter()
        admission.answered(1.0 + 0.020 * at, 1.008 + 0.020 * at, 1, between=0.004, backlog=False)
        admission.leave()
    assert admission.pace_s == 0.001


@pytest.mark.parametrize("thread", [False, True])
async def test_many_at_once_are_answered_or_refused_with_retry_after(start: Start, thread: bool) -> None:
    client = await start(deadline_ms=20, longest_wait=0.1, compute_thread=thread)

    async def ask(number: int) -> Any:
        return await client.post("/api/recommendations/homepage", json={"session_id": f"s-{number}"})

    answers = await asyncio.gather(*map(ask, range(200)))
    refused = [one for one in answers if one.status != 200]
    assert 0 < len(refused) < 200
    document = await problem(refused[0], 503)
    assert "would wait" in document["detail"]
    assert {one.headers["Retry-After"] for one in refused} == {"1"}
    assert (await ask(0)).status == 200
