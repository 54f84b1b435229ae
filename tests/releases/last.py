"""The last release: its code as a folder, to be run beside this one's, and what its rows were.

`python -m tests.releases.last COMMIT` makes `last_release.json` of a release, once it is the last one.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = Path(__file__).with_name("last_release.json")
ROWS: Final = Path(__file__).with_name("rows.py")
_TABLE: Final = "import json; from contracts.formats import as_table; print(json.dumps(as_table()))"


def kept() -> dict[str, Any]:
    """Return what is kept of the last release: `commit`, `forms`, `rows` (base64), `read` (what it reads in them)."""
    found: dict[str, Any] = json.loads(KEPT.read_text())
    return found


def code_of(commit: str, folder: Path) -> bool:
    """Lay the code of a commit into a folder; False where the history does not have it."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        return False
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return True


def environment_of(folder: Path) -> dict[str, str]:
    """Return variables with which processes run the code of a folder."""
    return {**os.environ, "PYTHONPATH": str(folder)}


def asked(folder: Path, *arguments: str, given: Mapping[str, str] | None = None) -> Any:
    """Return what a Python with the code of a folder prints, as JSON."""
    said = subprocess.run(
        [sys.executable, "-P", *arguments],
        env=environment_of(folder),
        cwd=folder,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr[-2000:]
    return json.loads(said.stdout)


def main(commit: str, folder: Path) -> None:
    if not code_of(commit, folder):
        sys.exit(f"expected a commit of this history, got {commit!r}")
    rows = asked(folder, str(ROWS), "write")
    forms = asked(folder, "-c", _TABLE)
    found = {"commit": commit, "forms": forms, "rows": rows, "read": asked(folder, str(ROWS), "read", given=rows)}
    KEPT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as made:
        main(sys.argv[1], Path(made))
