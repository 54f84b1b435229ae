"""Flame graphs of running processes, by py-spy, which samples from outside."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERTZ = 99
ENDS_S = 30.0


class Flames:
    """Samplers of several processes, beside a load. `wait` returns the pictures made, and what could not be made."""

    def __init__(self, pids: Mapping[str, int], folder: Path, seconds: float) -> None:
        self._folder, self._seconds = folder, seconds
        self._running: dict[str, subprocess.Popen[str]] = {}
        binary = find_sampler()
        self.missing = "" if binary else "py-spy is not here (it comes with `make training`): no flame graphs"
        if binary is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for name, pid in pids.items():
            command = [binary, "record", "-d", f"{max(1, round(seconds))}", "-r", str(HERTZ), "-n", "-t"]
            command += ["-o", str(folder / f"{name}.svg"), "-p", str(pid)]
            self._running[name] = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )

    def wait(self) -> tuple[list[Path], list[str]]:
        """Wait for all of them."""
        made, failed = list[Path](), [self.missing] if self.missing else list[str]()
        for name, process in self._running.items():
            try:
                _, said = process.communicate(timeout=self._seconds + ENDS_S)
            except subprocess.TimeoutExpired:
                process.kill()
                _, said = process.communicate()
            path = self._folder / f"{name}.svg"
            if process.returncode == 0 and path.exists():
                made.append(path)
            else:
                reason = (said.strip().splitlines() or ["it said nothing"])[-1]
                failed.append(f"no flame graph of {name}: {reason}")
        return made, failed


def find_sampler() -> str | None:
    """Return py-spy of this environment, or on the path."""
    own = Path(sys.executable).parent / "py-spy"
    return str(own) if own.exists() else shutil.which("py-spy")
