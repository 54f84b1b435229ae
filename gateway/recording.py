"""Recording what the gateway accepts, as event-log files, without holding a request up.

Accepted events wait in a bounded line; a thread appends them to a part file, `.NAME.part.jsonl`, as they come. A part
that is full or old enough is finished by a process of its own (sorted, counted, packed: `NAME.jsonl.zst`), so that
serving does not feel it. A part that a killed process left behind is finished by the next one that starts here.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from contracts.clock import wall_clock_ms
from contracts.errors import NextclickError
from eventlog.contract import Record
from eventlog.sampling import in_sample
from gateway.record_files import PART, PREFIX, is_written, parts_in
from gateway.settings import RecordOptions
from gateway.sideline import Sideline

log = logging.getLogger("nextclick.gateway")


class RecordingFailed(NextclickError):
    """A recording cannot be written; serving goes on without it."""


@dataclass(slots=True)
class _Part:
    """The part that is being written. Its file is locked while its writer lives."""

    path: Path
    file: IO[bytes]
    opened_ms: int
    events: int = 0


class Recorder:
    """Takes accepted events and writes them by session sample. One for each process; use from its event loop."""

    def __init__(self, options: RecordOptions, *, clock: Callable[[], int] = wall_clock_ms) -> None:
        self._options, self._clock = options, clock
        self._folder = Path(options.to)
        self._part: _Part | None = None
        self._writing = threading.Lock()  # a batch is appended in one thread while the clock ends the part in another
        self._finishing: list[subprocess.Popen[bytes]] = []
        self._made = 0
        self.line: Sideline[bytes] = Sideline(
            self._write, name="recorded events", max_waiting=options.max_waiting, max_batch=2000
        )

    def start(self) -> None:
        """Make the folder, and finish what a process before left in it. Raises RecordingFailed."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            left = [path for path in parts_in(self._folder) if not is_written(path)]
        except OSError as error:
            raise RecordingFailed(f"{self._folder}: recordings cannot be written here ({error})") from error
        for path in left:
            self._finish(path)

    def offer(self, records: Sequence[Record]) -> None:
        """Take accepted events and return at once. What the line has no room for is dropped and counted."""
        share = self._options.share
        for record in records:
            if share >= 1.0 or in_sample(record.key, share):
                self.line.offer(record.value)

    async def tick(self) -> None:
        """Finish a part that has become old enough. Call now and then."""
        part = self._part
        if part is not None and self._clock() - part.opened_ms >= self._options.seconds * 1000:
            await asyncio.to_thread(self._rotate, part)

    async def close(self, timeout_s: float) -> None:
        """Write what waits and have the last part finished; what takes longer than `timeout_s` goes on by itself."""
        await self.line.close(timeout_s)
        if self._part is not None:
            await asyncio.to_thread(self._rotate, self._part)
        await asyncio.to_thread(self._wait, timeout_s)

    async def _write(self, lines: Sequence[bytes]) -> None:
        await asyncio.to_thread(self._append, lines)

    def _append(self, lines: Sequence[bytes]) -> None:
        try:
            with self._writing:
                part = self._part = self._part or self._open()
                part.file.write(b"\n".join(lines) + b"\n")
                part.file.flush()
                part.events += len(lines)
        except OSError as error:
            raise RecordingFailed(f"{self._folder}: recordings cannot be written here ({error})") from error
        if part.events >= self._options.events:
            self._rotate(part)

    def _open(self) -> _Part:
        now_ms = self._clock()
        at = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S")
        self._made += 1
        path = self._folder / f".{PREFIX}{at}-{os.getpid()}-{self._made}{PART}"
        file = open(path, "xb")  # noqa: SIM115 (it stays open until the part is full)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _Part(path, file, now_ms)

    def _rotate(self, part: _Part) -> None:
        with self._writing:
            if self._part is not part:
                return  # full and old at the same time: the other was first
            self._part = None
            part.file.close()
            self._finish(part.path)

    def _finish(self, path: Path) -> None:
        """Start the process that turns a part into a recording, and lets go of the oldest recordings."""
        self._finishing = [one for one in self._finishing if one.poll() is None]
        command = [sys.executable, "-m", "gateway.record_files", str(path), str(self._options.files)]
        self._finishing.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True))

    def _wait(self, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        for finishing in self._finishing:
            with suppress(subprocess.TimeoutExpired):
                finishing.wait(max(0.0, until - time.monotonic()))
