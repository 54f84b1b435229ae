"""The code of the clients' READMEs runs as it stands, but for the gateway's address."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import CLIENTS


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


PYTHON = blocks(CLIENTS / "python" / "README.md", "python")
SAYS = [r"\d+ (boot|sock)-1 ", r"^2 sent, 0 refused, 0 left out$", r"^\d+$", r"^$", r"^422 \['/price'\]$"]


def test_each_block_of_the_python_readme_is_run() -> None:
    assert len(PYTHON) == len(SAYS) == 5


@pytest.mark.parametrize("at", range(5))
def test_the_python_readme_runs(gateway_url: str, at: int) -> None:
    code = PYTHON[at].replace("http://localhost:8080", gateway_url)
    environment = {"PYTHONPATH": str(CLIENTS / "python" / "src"), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[at], done.stdout.strip(), re.MULTILINE), done.stdout
