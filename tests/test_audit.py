"""`make audit`: findings fail, and where nothing could be looked up that is said, never taken for a good result."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


GOOD: dict[str, Any] = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
SKIPPED: dict[str, Any] = {"name": "numpy", "skip_reason": "Dependency not found on PyPI"}
BAD: dict[str, Any] = {
    "name": "zipp",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}, {"id": "PYSEC-2", "fix_versions": []}],
}


def test_a_finding_fails_and_says_what_mends_it(audit: ModuleType) -> None:
    assert audit.verdict(report(GOOD, BAD, SKIPPED)) == (
        [
            "zipp 1.0: PYSEC-1, mended in 1.1",
            "zipp 1.0: PYSEC-2, mended in no release yet",
            "audit: 2 known vulnerabilities (1 of 3 could not be looked up): raise these in `make lock`",
        ],
        1,
    )


def test_nothing_known_is_said_with_how_much_was_looked_at(audit: ModuleType) -> None:
    assert audit.verdict(report(GOOD)) == (["audit: no known vulnerability in 1 dependencies"], 0)


@pytest.mark.parametrize("said", ["", "Traceback", "[]", "{}", report(), report(SKIPPED, SKIPPED)])
def test_what_could_not_be_looked_up_is_no_good_result(audit: ModuleType, said: str) -> None:
    [line], status = audit.verdict(said)
    assert line.startswith("audit: nothing was looked at, as the database of vulnerabilities cannot be reached")
    assert status == 0


def test_the_command_is_run_and_its_findings_are_the_exit_status(
    audit: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main([sys.executable, "-c", f"print({report(BAD)!r})"]) == 1
    assert capsys.readouterr().out.startswith("zipp 1.0: PYSEC-1, mended in 1.1\n")
