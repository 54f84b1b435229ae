"""The OpenAPI document against a running gateway, by schemathesis: no answer of 500, each as the document says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.fuzz.shop import running_shop

HERE = Path(__file__).parent
_TITLE = re.compile(r"^_{3,} (.+?) _{3,}$", re.MULTILINE)


def run_schemathesis(url: str, *, examples: int, seed: int, seconds: float) -> str:
    """Try the API at `url`; returns what schemathesis says where it found something, else nothing.

    The same seed tries the same data in the same order, until the time is over.
    """
    command = [
        *(
            sys.executable,
            "-P",
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(HERE / "schemathesis.toml"),
            "--no-color",
        ),
        *("run", f"{url}/openapi.json", "--continue-on-failure", "--max-time", str(round(seconds))),
        *(
            "--max-examples",
            str(examples),
            "--seed",
            str(seed),
            "--request-timeout",
            "60",
            "--generation-deterministic",
        ),
    ]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.schemathesis_hooks", "PYTHONPATH": str(HERE.parents[1])}
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def check_api(seconds: float, *, seed: int, console: Console) -> list[str]:
    """Try the API of a stack of its own for so long; returns the operations that answered what they may not."""
    with tempfile.TemporaryDirectory(prefix="nextclick-fuzz-") as folder, running_shop(Path(folder)) as stack:
        said = run_schemathesis(stack.url, examples=50, seed=seed, seconds=seconds)
    if not said:
        return []
    console.print(said, markup=False, highlight=False)
    return _TITLE.findall(said) or ["schemathesis could not run"]
