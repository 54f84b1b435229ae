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


def test_the_pace_is_learnt_from_batches_and_from_what_lies_between_them_while_others_wait() -> None:
    admission = Admission(0.100, pace_s=0.004)
    for _ in range(20):
        admission.enter()
    admission.answered(1.000, 1.010, 10)  # 1 ms each, after a pause
    assert admission.pace_s == pytest.approx(0.004 + 0.2 * (0.001 - 0.004))
    before = admission.pace_s
    admission.answered(1.020, 1.030, 10)  # 2 ms each, with what lies between: 10 more wait
    assert admission.pace_s == pytest.approx(before + 0.2 * (0.002 - before))


def test_a_pause_of_the_machine_counts_as_five_times_the_usual_at_most() -> None:
    admission = Admission(0.100, pace_s=0.001)
    admission.enter()
    admission.enter()
    admission.answered(1.0, 9.0, 1)
    assert admission.pace_s == pytest.approx(0.001 + 0.2 * 0.004)


def test_slow_answers_that_nobody_waits_behind_say_nothing_of_a_full_batch() -> None:
    admission = Admission(0.100, pace_s=0.001)
    admission.enter()
    admission.answered(1.0, 1.1, 1)
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
