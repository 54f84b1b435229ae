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


def test_a_click_rate_that_fell_against_the_same_hour_of_earlier_days_alerts(promtool: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "deploy" / "alerts.yml", tmp_path)
    shutil.copy(ROOT / "tests" / "alert_rules.yml", tmp_path)
    for words in (["check", "rules", "alerts.yml"], ["test", "rules", "alert_rules.yml"]):
        done = subprocess.run([promtool, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
