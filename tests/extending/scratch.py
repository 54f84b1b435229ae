"""Recipes of docs/extending.md, done on a copy of the code: its code blocks are what is written there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RECIPES = ROOT / "docs" / "extending.md"


def blocks(section: str, language: str) -> list[str]:
    """Return the code blocks of one language in one section."""
    [text] = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", RECIPES.read_text(), re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def write_files(section: str, folder: Path) -> list[str]:
    """Write the files that a section shows: a block whose first line is its path. Returns their paths."""
    written = []
    for block in blocks(section, "python"):
        path, _, code = block.partition("\n")
        (folder / path.removeprefix("# ")).write_text(code)
        written.append(path.removeprefix("# "))
    return written


class Scratch:
    """A copy of the packages in a folder, for one test.

    It always lies in the same place beside the test's own folder: kernels are compiled once for a place, and once more
    only where a recipe changes their file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder = folder.parent / "scratch"
        shutil.rmtree(folder, ignore_errors=True)
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        for room in project["tool"]["importlinter"]["root_packages"]:
            shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("__init__.py", "rerank", "retrieval"):
            taken = ROOT / "tests" / name
            copy = shutil.copytree if taken.is_dir() else shutil.copy
            (folder / "tests").mkdir(exist_ok=True)
            copy(taken, folder / "tests" / name)

    def follow(self, section: str) -> list[str]:
        """Do a section's recipe: write its files, apply its diffs. Returns the files that were touched."""
        touched = write_files(section, self.folder)
        for diff in blocks(section, "diff"):
            self.patch(diff)
            touched += re.findall(r"^\+\+\+ b/(.*)$", diff, re.MULTILINE)
        return touched

    def patch(self, diff: str) -> None:
        """Apply a diff whose hunks say no line numbers: what a hunk replaces stands once in its file."""
        for path, text in re.findall(r"^\+\+\+ b/([^\n]*)\n(.*?)(?=^--- |\Z)", diff, re.MULTILINE | re.DOTALL):
            file = self.folder / path
            code = file.read_text()
            for hunk in text.split("@@\n")[1:]:
                lines = hunk.splitlines()
                before, after = ("".join(f"{line[1:]}\n" for line in lines if line[0] in keep) for keep in (" -", " +"))
                assert code.count(before) == 1, (
                    f"{path}: a recipe of docs/extending.md replaces these lines, expected once, found "
                    f"{code.count(before)} times: mend the recipe\n{before}"
                )
                code = code.replace(before, after)
            file.write_text(code)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python on the copy."""
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "400", **environment},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def says(self, code: str, **environment: str) -> str:
        """Return what a program prints; expects that it ends well."""
        ended = self.run("-c", code, **environment)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout
