"""The judge as a part of the stack, and as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import SettingsError
from contracts.exits import WRONG_SETTING
from contracts.settings import ServiceSettings
from judge.__main__ import jobs_of
from nextclick.stack.settings import StackSettings, with_given
from nextclick.stack.stack import Stack

ROOT = Path(__file__).parents[2]


def test_the_stack_runs_it_where_a_setting_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def children() -> dict[str, str]:
        stack = Stack(with_given(StackSettings(), {"stack.folder": tmp_path, "stack.port": 8099}))
        return {child.name: child.env["NEXTCLICK_JUDGE__GATEWAY"] for child in stack._children()}

    assert "judge" not in children()
    monkeypatch.setenv("NEXTCLICK_JUDGE__RUN", "true")
    assert list(children())[-1] == "judge"
    assert children()["judge"] == "http://127.0.0.1:8099"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("NEXTCLICK_JUDGE__GATEWAY", "ftp://shop", "expected a URL such as http://127.0.0.1:8080"),
        ("NEXTCLICK_JUDGE__EVERY", "PT0S", "greater than or equal to 1 second"),
        ("NEXTCLICK_API_KEY", "two words", "expected one API key, such as ncs_..."),
    ],
)
def test_a_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said):
        jobs_of(ServiceSettings())


def test_a_wrong_setting_ends_the_process_with_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "judge"],
        env={**os.environ, "NEXTCLICK_JUDGE__GATEWAY": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (WRONG_SETTING, 1), ended.stderr
