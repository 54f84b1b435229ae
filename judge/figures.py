"""What the judge shows of its jobs on its `/metrics`."""

from __future__ import annotations

import time
from typing import Final

from contracts.figures import Figures

FIGURES: Final = Figures("nextclick_judge_")
_runs = FIGURES.counter("runs", "Times that a job was run, by what came of it.", "task", "outcome")
_took = FIGURES.counter("run_seconds", "Seconds that a job has taken.", "task")
_failing = FIGURES.gauge("failing", "1 while a job fails.", "task")
_well_at = FIGURES.gauge("success_timestamp_seconds", "When a job last went well.", "task")


def ran(job: str, took_s: float, *, well: bool) -> None:
    """Count a run of a job."""
    _runs.add(1, job, "done" if well else "failed")
    _took.add(took_s, job)
    _failing.set(float(not well), job)
    if well:
        _well_at.set(time.time(), job)
