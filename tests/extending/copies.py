"""A scratch copy of the code in which a recipe of docs/extending.md is done, and programs that run in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def code_of(section: str) -> list[str]:
    """Return the Python code blocks of a section of docs/extending.md."""
    page = (ROOT / "docs" / "extending.md").read_text()
    text = page.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```python\n(.*?)```", text, re.S)


class Copy:
    """Some rooms copied to a folder; the others are those of the checkout."""

    def __init__(self, folder: Path, *rooms: str) -> None:
        self.folder = folder
        for room in rooms:
            shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))

    def append(self, path: str, code: str) -> None:
        file = self.folder / path
        file.write_text(f"{file.read_text()}\n\n{code}")

    def run(self, program: str) -> str:
        """Run a program over the copy and return what it prints."""
        paths = os.pathsep.join((str(self.folder), str(ROOT)))
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": paths},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout
