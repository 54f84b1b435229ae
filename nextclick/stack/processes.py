"""Processes of a stack, each with a log file: watched, started again when they die, stopped in order.

Once the whole was ready there is nothing that a part can do to end the others: it is started again for ever, with
growing pauses while it keeps dying.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from contracts.errors import StartupError
from contracts.exits import WRONG_SETTING
from contracts.restarts import PAUSES_S, QUICK_DEATH_S, Fate
from nextclick.stack.last_words import last_words
from state.launch import LOG_BYTES, LogFile, launch

log = logging.getLogger(__name__)

MOST_QUICK_DEATHS = 5
"""So many quick deaths in a row before the whole was ever ready, and the start has failed."""
TICK_S = 0.1
LOOK_AT_LOGS_S = 1.0
TAIL_BYTES = 8000
"""Where to look for a reason: stack traces are long."""
KILLED = (-signal.SIGKILL, -signal.SIGTERM)


class Part(Protocol):
    """What the supervisor keeps running."""

    @property
    def name(self) -> str: ...
    @property
    def process(self) -> subprocess.Popen[bytes] | None: ...
    @property
    def log_file(self) -> Path: ...

    fate: Fate

    def start(self) -> None:
        """Start it and return at once; what this raises is tried again."""

    def well_since(self, now_s: float) -> float | None:
        """Return since when it does its work, on the clock of `time.monotonic`; None while that is not known."""

    def stop(self) -> None:
        """Stop it, whatever that takes."""

    def bound_log(self) -> None:
        """Move its log away when that is past its bound."""

    def log_tail(self, length: int = 1500) -> str:
        """Return the end of its log, in bytes."""


@dataclass(slots=True)
class Child:
    """One supervised program. Mutable: it is restarted in place."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log_file: Path
    process: subprocess.Popen[bytes] | None = None
    log_bytes: int = LOG_BYTES
    niceness: int = 0
    """More is less of the processors' time where others want it, up to 19."""
    cluster: str = ""
    """Name shared by processes that end with each other."""
    fate: Fate = field(default_factory=Fate)

    def start(self) -> None:
        """Start it; its output is appended to its log file."""
        self.process = launch(self.command, self._log, env=self.env)
        if self.niceness:
            with suppress(OSError):  # it may have ended
                os.setpriority(os.PRIO_PROCESS, self.process.pid, self.niceness)

    @property
    def _log(self) -> LogFile:
        return LogFile(self.log_file, self.log_bytes)

    @property
    def older_log(self) -> Path:
        """Where the log goes that has reached its bound."""
        return self._log.older

    def bound_log(self) -> None:
        self._log.bound()

    def log_tail(self, length: int = 1500) -> str:
        return self._log.tail(length)

    @property
    def restarts(self) -> int:
        return self.fate.restarts

    @property
    def running(self) -> bool:
        return is_running(self)

    def well_since(self, now_s: float) -> float | None:
        """Nobody asks it: a program that has lived for a while does its work."""
        return self.fate.started_at if now_s - self.fate.started_at >= QUICK_DEATH_S else None

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


class Supervisor:
    """Keeps parts running until told to stop."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self.failure: str | None = None
        self._ready = False
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._unexpected = ""

    @property
    def children(self) -> list[Child]:
        """The parts that are programs of our own."""
        return [part for part in self.parts if isinstance(part, Child)]

    def start(self) -> None:
        """Start every part that does not run yet, and watch them."""
        for part in self.parts:
            if not is_running(part):
                part.start()
            part.fate = part.fate.started(time.monotonic())
        self._watcher.start()

    def add(self, part: Part) -> None:
        """Start another part, and watch it with the others."""
        part.start()
        part.fate = part.fate.started(time.monotonic())
        self.parts.append(part)

    def stop(self) -> None:
        """Stop the parts, last started first."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for part in reversed(self.parts):
            part.stop()

    def mark_ready(self) -> None:
        """Say that the whole was ready: from now on nothing but `stop` ends it."""
        self._ready, self.failure = True, None

    def expect_healthy(self) -> None:
        """Raise StartupError when the start has failed: a part refuses its settings, or keeps dying. Not once ready."""
        if self.failure is not None and not self._ready:
            raise StartupError(self.failure)

    def ailing(self) -> list[str]:
        """Return a line for every part that is away, or came back so lately that it may go again."""
        return [
            f"{part.name}: {part.fate.reason}, {part.fate.restarts} restarts (its log: {part.log_file})"
            for part in self.parts
            if part.fate.down_since is not None
        ]

    def _watch(self) -> None:
        look_at = time.monotonic() + LOOK_AT_LOGS_S
        while not self._stopping.wait(TICK_S):
            look = time.monotonic() >= look_at
            look_at += LOOK_AT_LOGS_S if look else 0.0
            for part in self.parts:
                try:
                    self._look_at(part)
                    if look:
                        part.bound_log()
                except Exception as error:  # whatever it is, the other parts need their watcher
                    self._say_unexpected(part, error)

    def _look_at(self, part: Part) -> None:
        now_s = time.monotonic()
        if is_running(part):
            if part.fate.next_start is not None:  # somebody else started it
                part.fate = part.fate.started(now_s)
            if part.fate.down_since is not None and (since := part.well_since(now_s)) is not None:
                self._well(part, since)
            return
        if part.fate.next_start is None:
            self._died(part, now_s)
        if now_s >= (part.fate.next_start or 0.0) and (self._ready or self.failure is None):
            self._start_again(part)

    def _died(self, part: Part, now_s: float) -> None:
        code = part.process.returncode if part.process is not None else None
        before = part.fate
        part.fate = before.died(now_s, _reason(part, code), blameless=code in KILLED or self._peer_was_killed(part))
        if not self._ready:
            self.failure = self.failure or _failure(part, code)
        _say_waiting(part, before)

    def _peer_was_killed(self, part: Part) -> bool:
        """Tell whether a process that ends with others died because one of these was killed."""
        if not isinstance(part, Child) or not part.cluster:
            return False
        peers = [child.process for child in self.children if child.cluster == part.cluster]
        return any(process is not None and process.poll() in KILLED for process in peers)

    def _start_again(self, part: Part) -> None:
        before = part.fate
        try:
            part.start()
        except Exception as error:  # no descriptors, no memory, no disk: that passes
            part.fate = before.not_started(time.monotonic(), f"cannot be started ({error!r})")
            _say_waiting(part, before)
        else:
            part.fate = before.started(time.monotonic())

    def _well(self, part: Part, since_s: float) -> None:
        fate = part.fate
        away_s = since_s - (fate.down_since or since_s)
        starts = f", at start {fate.outage_starts}" if fate.outage_starts > 1 else ""
        log.warning("%s runs again, %.1f s after it went%s", part.name, away_s, starts)
        part.fate = fate.well()

    def _say_unexpected(self, part: Part, error: Exception) -> None:
        """Once, with its trace: what goes wrong every tenth of a second is not said as often."""
        if repr(error) != self._unexpected:
            log.exception("watching %s: an error that nobody expected; the watching goes on", part.name)
        self._unexpected = repr(error)


def is_running(part: Part) -> bool:
    """Tell whether a part's process is there."""
    process = part.process
    return process is not None and process.poll() is None


def _failure(part: Part, code: int | None) -> str | None:
    """Return why the start has failed with this death; None when it has not."""
    if code == WRONG_SETTING:
        return f"{part.name}: {last_words(part.log_tail(TAIL_BYTES))}"
    if part.fate.quick_deaths >= MOST_QUICK_DEATHS:
        return f"{part.name} keeps dying (exit code {code}). Its log ends:\n{part.log_tail()}"
    return None


def _reason(part: Part, code: int | None) -> str:
    if code in KILLED:
        return f"was ended by {signal.Signals(-code).name}" if code is not None else ""
    said = "refuses its settings or artifacts" if code == WRONG_SETTING else f"died (exit code {code})"
    return f"{said}: {last_words(part.log_tail(TAIL_BYTES))}"


def _say_waiting(part: Part, before: Fate) -> None:
    """Say once what happened and where more stands; after that one short line a try, while the tries are rare."""
    fate = part.fate
    if before.down_since is None:
        log.warning("%s %s; next start in %.1f s (log: %s)", part.name, fate.reason, fate.pause_s, part.log_file)
    elif fate.reason != before.reason:
        log.warning("%s %s; next start in %.1f s", part.name, fate.reason, fate.pause_s)
    elif fate.pause_s != before.pause_s or fate.pause_s == PAUSES_S[-1]:
        log.warning("%s is still away; next start in %.1f s", part.name, fate.pause_s)
