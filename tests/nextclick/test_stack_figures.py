"""What the stack shows of its parts: which run, and how often each was started again."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from nextclick.stack.processes import Child, Supervisor
from nextclick.stack.stack_figures import FIGURES, watch


def shown() -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("nextclick_stack_"), *sample.labels.values()): sample.value
        for family in FIGURES.collect()
        for sample in family.samples
    }


def test_a_part_that_is_killed_is_shown_as_started_again(tmp_path: Path) -> None:
    code = "import time; time.sleep(600)"
    part = Child("sleeper", [sys.executable, "-c", code], dict(os.environ), tmp_path / "sleeper.log")
    supervisor = Supervisor([part])
    watch(lambda: supervisor.parts, "20261129T045300-1f3a9c2e")
    try:
        assert shown()["part_up", "sleeper"] == 0
        supervisor.start()
        supervisor.mark_ready()
        found = shown()
        assert (found["part_up", "sleeper"], found["part_well", "sleeper"]) == (1, 1)
        assert found["part_restarts_total", "sleeper"] == 0
        assert [key[2] for key in found if key[0] == "info"] == ["20261129T045300-1f3a9c2e"]
        assert part.process is not None
        part.process.kill()
        until = time.monotonic() + 60
        while (found := shown())["part_restarts_total", "sleeper"] != 1:
            assert time.monotonic() < until, found
            time.sleep(0.05)
        assert found["part_well", "sleeper"] == 0
    finally:
        supervisor.stop()
        watch(list, "")
