"""Jobs come again at their own pace, and one that fails ends no other."""

from __future__ import annotations

from contracts.errors import StateUnavailable
from judge.figures import FIGURES
from judge.tick import Job, Ticker


def test_each_job_keeps_its_own_pace_whatever_the_others_do() -> None:
    now, ran = [0.0], list[tuple[str, float]]()

    def fails() -> None:
        ran.append(("fails", now[0]))
        raise StateUnavailable("away") if now[0] < 8.0 else ValueError("wrong")

    def slow() -> None:
        ran.append(("slow", now[0]))
        now[0] += 3.0

    ticker = Ticker(
        [Job("quick", 2.0, lambda: ran.append(("quick", now[0]))), Job("slow", 10.0, slow), Job("fails", 1.0, fails)]
    )
    while now[0] < 21.0:
        pause_s = ticker.run_due(lambda: now[0])
        now[0] += pause_s
    assert [at for name, at in ran if name == "quick"] == [0.0, 3.0, 5.0, 7.0, 9.0, 13.0, 15.0, 17.0, 19.0, 23.0]
    assert [at for name, at in ran if name == "slow"] == [0.0, 10.0, 20.0]
    assert [at for name, at in ran if name == "fails"] == [3.0, 8.0, 18.0]


def test_without_jobs_there_is_nothing_to_do_for_a_while() -> None:
    assert Ticker([]).run_due(lambda: 5.0) == 60.0


def test_what_a_job_did_is_shown_on_metrics() -> None:
    def fails() -> None:
        raise StateUnavailable("away")

    Ticker([Job("shown well", 1.0, lambda: None), Job("shown failing", 1.0, fails)]).run_due(lambda: 0.0)
    shown = {
        (sample.name, *sample.labels.values()): sample.value for one in FIGURES.collect() for sample in one.samples
    }
    assert shown["nextclick_judge_runs_total", "shown well", "done"] == 1
    assert shown["nextclick_judge_runs_total", "shown failing", "failed"] == 1
    assert shown["nextclick_judge_failing", "shown failing"] == 1
    assert shown["nextclick_judge_failing", "shown well"] == 0
    assert shown["nextclick_judge_success_timestamp_seconds", "shown well"] > 0
    assert ("nextclick_judge_success_timestamp_seconds", "shown failing") not in shown
