"""A run of several workers: who measures time runs alone, and who takes long is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.slow

COLLECTED = """
import os, time
from pathlib import Path

began = time.monotonic()
time.sleep(0.5)
Path(__file__).with_name(f"{os.environ['PYTEST_XDIST_WORKER']}.json").write_text(f"[{began}, {time.monotonic()}]")

def test_nothing(): pass
"""
INI = "[pytest]\nmarkers =\n    alone\n    slow\n"
BESIDE = """
import json, time
from pathlib import Path

import pytest

def times(name):
    began = time.monotonic()
    time.sleep(0.2)
    Path(__file__).with_name(name + ".json").write_text(json.dumps([began, time.monotonic()]))
"""
ALONE = BESIDE + "\n@pytest.mark.alone\ndef test_alone() -> None: times('alone')\n"
SLOW = """
import time, pytest

@pytest.fixture(scope="module")
def prepared(): time.sleep(2.0)

def test_a_quick(): pass
def test_a_long(prepared): pass
@pytest.mark.slow
def test_a_marked(): time.sleep(2.0)
"""


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder with this suite's hooks."""
    (folder / "pytest.ini").write_text(INI)
    hooks = [word for name in ("alone", "collecting", "slow") for word in ("-p", f"tests.{name}")]
    command = [sys.executable, "-m", "pytest", *hooks, "-p", "no:cacheprovider", *more]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [*command, str(folder)],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_nothing_runs_beside_a_test_that_runs_alone_and_other_files_run_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "test_alone.py").write_text(ALONE)
    for name in "ab":
        body = "".join(f"def test_{n}(): times('{name}{n}')\n" for n in range(5))
        (tmp_path / f"test_{name}.py").write_text(BESIDE + body)

    ran = run(tmp_path, "--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    spans = {path.stem: tuple(json.loads(path.read_text())) for path in tmp_path.glob("*.json")}
    assert len(spans) == 11
    assert [name for name, span in spans.items() if meet(span, spans["alone"])] == ["alone"]
    assert any(meet(spans[f"a{n}"], spans[f"b{m}"]) for n in range(5) for m in range(5))


def test_where_nothing_is_compiled_yet_one_worker_collects_before_the_others(tmp_path: Path) -> None:
    (tmp_path / "test_collected.py").write_text(COLLECTED)

    ran = run(tmp_path, "--numprocesses", "3")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    first, *others = sorted(tuple(json.loads(path.read_text())) for path in tmp_path.glob("gw*.json"))
    assert len(others) == 2
    assert [one for one in others if meet(first, one)] == []


def meet(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def test_a_test_that_took_long_without_the_marker_is_named_with_its_seconds(tmp_path: Path) -> None:
    (tmp_path / "test_of_all_sorts.py").write_text(SLOW)
    for workers in ("0", "1"):
        ran = run(tmp_path, "--numprocesses", workers, "-o", "slow_s=0.1")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        said = ran.stdout.partition("over 0.1 s without the marker slow")[2]
        assert "s test_of_all_sorts.py::test_a_long\n" in said
        assert "test_a_quick" not in said
        assert "test_a_marked" not in said


def test_the_same_tests_are_found_each_time(request: pytest.FixtureRequest) -> None:
    """Workers compare what they found, and run nothing where it differs: no test is named after a time or a hash."""

    def found(seed: str) -> list[str]:
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
        told = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        return sorted(line for line in told.stdout.splitlines() if "::" in line)

    several = getattr(request.config, "workerinput", {}).get("workercount", 1) > 1
    if several and os.environ.get("PYTHONHASHSEED", "random") == "random":
        return  # each worker has a seed of its own, and this runs: they compared, and it was the same
    here = sorted(item.nodeid for item in request.session.items)
    first = here if len(here) > 3000 else found("1")
    assert len(first) > 3000
    assert found("2") == first
