"""Installs what the serving image holds twice, as deploy/Dockerfile does, and compares every file.

    make image-check

Stands on the standard library and uv alone. Exit status 1 where a file differs.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = os.environ.get("UV", "uv")


def made(folder: Path) -> dict[str, str]:
    """Return the files that one build installs, by their hashes."""
    commit = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True, text=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": commit.stdout.strip()}

    def run(*words: str) -> None:
        subprocess.run(words, cwd=ROOT, env=environment, check=True)

    tools, installed, wheels = folder / "tools", folder / "venv", folder / "wheels"
    for venv, wanted in ((tools, "build"), (installed, "serving")):
        run(UV, "venv", "-q", "--python", ">=3.11,<3.13", str(venv))
        python = str(venv / "bin/python")
        run(
            UV,
            "pip",
            "install",
            "-q",
            "--python",
            python,
            "--no-deps",
            "--require-hashes",
            "-r",
            f"requirements/{wanted}.txt",
        )
    run(UV, "build", "-q", "--wheel", "--no-build-isolation", "--python", str(tools / "bin/python"), "-o", str(wheels))
    python = str(installed / "bin/python")
    run(UV, "pip", "install", "-q", "--python", python, "--no-deps", "--no-index", str(next(wheels.glob("*.whl"))))
    run(
        python,
        "-m",
        "compileall",
        "-q",
        "-f",
        "--invalidation-mode",
        "unchecked-hash",
        "-s",
        str(folder),
        str(installed / "lib"),
    )
    found = {}
    for path in sorted([*(installed / "lib").rglob("*"), *wheels.iterdir()]):
        if path.is_file() and path.name not in ("direct_url.json", "RECORD", "uv_cache.json"):  # these name the folder
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first, second = made(Path(one)), made(Path(other))
    odd = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    whole = hashlib.sha256("".join(f"{name} {first[name]}\n" for name in sorted(first)).encode()).hexdigest()
    sys.stdout.write("\n  ".join([f"{len(first)} files, {len(odd)} differ; {whole}", *odd[:20]]) + "\n")
    return 1 if odd or not first else 0


if __name__ == "__main__":
    sys.exit(main())
