"""The code of the clients' READMEs, and of their section of the shop's page, runs as it stands, but for the
gateway's address."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import CLIENTS, ROOT

NODE = shutil.which("node")


SHOP = ROOT / "docs" / "your-shop.md"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def of_clients(language: str) -> list[str]:
    """Return the code of the section of the shop's page that is about clients."""
    return [block for block in blocks(SHOP, language) if re.search("nextclick[-_]client", block)]


PYTHON = [*blocks(CLIENTS / "python" / "README.md", "python"), *of_clients("python")]
SAYS = [
    r"\d+ (boot|sock)-1 ",
    r"^2 sent, 0 refused, 0 left out$",
    r"^\d+$",
    r"^$",
    r"^422 \['/price'\]$",
    r"^1 clicks counted$",
]


def test_each_block_of_the_python_readme_is_run() -> None:
    assert len(PYTHON) == len(SAYS) == 6


@pytest.mark.parametrize("at", range(6))
def test_the_python_readme_runs(gateway_url: str, at: int) -> None:
    code = PYTHON[at].replace("http://localhost:8080", gateway_url)
    environment = {"PYTHONPATH": str(CLIENTS / "python" / "src"), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[at], done.stdout.strip(), re.MULTILINE), done.stdout


JS = [*blocks(CLIENTS / "js" / "README.md", "js"), *of_clients("js")]
JS_SAYS = [r"^\d+ (boot|sock)-1 ", r"^2 sent, 0 refused, 0 left out$", r"^422 \[ '/price' \]$", r"^1 clicks counted$"]


@pytest.mark.skipif(NODE is None, reason="no node on the path: the README of the JavaScript client is not run")
def test_the_javascript_readme_runs(gateway_url: str, tmp_path: Path) -> None:
    assert len(JS) == len(JS_SAYS)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "nextclick-client").symlink_to(CLIENTS / "js")
    for at, (block, says) in enumerate(zip(JS, JS_SAYS, strict=True)):
        page = tmp_path / f"{at}.mjs"
        page.write_text(block.replace("http://localhost:8080", gateway_url))
        done = subprocess.run([str(NODE), str(page)], capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        assert re.search(says, done.stdout.strip(), re.MULTILINE), done.stdout
