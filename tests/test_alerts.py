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


@pytest.mark.parametrize("rules", sorted(path.name for path in (ROOT / "tests").glob("alert_rules*.yml")))
def test_each_alert_fires_when_what_it_watches_goes_wrong_and_not_before(
    promtool: str, tmp_path: Path, rules: str
) -> None:
    shutil.copy(ROOT / "deploy" / "alerts.yml", tmp_path)
    shutil.copy(ROOT / "tests" / rules, tmp_path)
    for words in (["check", "rules", "alerts.yml"], ["test", "rules", rules]):
        done = subprocess.run([promtool, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
