"""The rules of alerts, read and tried by Prometheus's own tool."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool here: Debian's package prometheus has it")
    return found


@pytest.mark.parametrize(
    "tried",
    [
        pytest.param("alert_rules.yml", id="a click rate that fell against the same hour of earlier days"),
        pytest.param("alert_rules_quality.yml", id="a check of the data that is bad, and events that are refused"),
    ],
)
def test_alerts(promtool: str, tmp_path: Path, tried: str) -> None:
    shutil.copy(ROOT / "deploy" / "alerts.yml", tmp_path)
    shutil.copy(ROOT / "tests" / tried, tmp_path)
    for words in (["check", "rules", "alerts.yml"], ["test", "rules", tried]):
        done = subprocess.run([promtool, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
