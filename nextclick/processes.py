"""Child processes: started with a log file each, watched, restarted when they die, stopped in order.

A log file past its bound moves to NAME.log.1, over the one before: at most two bounds a process, whatever it says.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from contracts.errors import StartupError
from state.embedded import die_with_parent

log = logging.getLogger(__name__)

QUICK_DEATH_S = 10.0
"""A process that dies sooner than this after its start did not start."""
MOST_QUICK_DEATHS = 5
LOG_BYTES = 16 << 20
LOOK_AT_LOGS_S = 1.0


@dataclass(slots=True)
class Child:
    """One supervised process. Mutable: it is restarted in place."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log_file: Path
    process: subprocess.Popen[bytes] | None = None
    log_bytes: int = LOG_BYTES
    started_at: float = 0.0
    quick_deaths: int = 0
    restarts: int = field(default=0)

    def start(self) -> None:
        """Start it; its output is appended to its log file."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C reaches the supervisor, which stops its children in order
                preexec_fn=die_with_parent,  # noqa: PLW1509 (one system call, takes no lock)
            )
        self.started_at = time.monotonic()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, timeout_s: float = 8.0) -> None:
        """Ask it to stop; kill it when it does not."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    @property
    def older_log(self) -> Path:
        """Where the log goes that has reached its bound."""
        return self.log_file.with_name(f"{self.log_file.name}.1")

    def bound_log(self) -> None:
        """Move a log away that is past its bound. The process writes on to the same file, at its new end: what it says
        between the copy and the cut, microseconds, is lost.
        """
        with suppress(OSError):  # a full disk must not end the watching
            if self.log_file.stat().st_size > self.log_bytes:
                shutil.copyfile(self.log_file, self.older_log)
                os.truncate(self.log_file, 0)

    def log_tail(self, length: int = 1500) -> str:
        """Return the end of its log, in bytes."""
        said = b""
        for file in (self.older_log, self.log_file):
            with suppress(FileNotFoundError), file.open("rb") as log_:
                log_.seek(max(0, file.stat().st_size - length))
                said += log_.read()
        return said[-length:].decode(errors="replace") or "(no log)"


class Supervisor:
    """Keeps children running until told to stop."""

    def __init__(self, children: Sequence[Child]) -> None:
        self.children = list(children)
        self.failure: str | None = None
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        for child in self.children:
            child.start()
        self._watcher.start()

    def stop(self) -> None:
        """Stop the children, last started first."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for child in reversed(self.children):
            child.stop()

    def expect_healthy(self) -> None:
        """Raise StartupError when a child keeps dying, with the end of its log."""
        if self.failure is not None:
            raise StartupError(self.failure)

    def _watch(self) -> None:
        look_at = time.monotonic() + LOOK_AT_LOGS_S
        while not self._stopping.wait(0.1):
            for child in self.children:
                if not child.running and self.failure is None:
                    self._revive(child)
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + LOOK_AT_LOGS_S
                for child in self.children:
                    child.bound_log()

    def _revive(self, child: Child) -> None:
        lived_s = time.monotonic() - child.started_at
        child.quick_deaths = child.quick_deaths + 1 if lived_s < QUICK_DEATH_S else 0
        code = child.process.returncode if child.process else None
        if child.quick_deaths >= MOST_QUICK_DEATHS:
            self.failure = f"{child.name} keeps dying (exit code {code}). Its log ends:\n{child.log_tail()}"
            return
        log.warning("%s died (exit code %s) after %.1f s: starting it again", child.name, code, lived_s)
        child.restarts += 1
        child.start()
