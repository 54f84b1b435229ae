"""Recording what the gateway accepts, as event-log files, without holding a request up.

Accepted events wait in a bounded line; a thread appends them to a part file, `.NAME.part.jsonl`, as they come. A part
that is full or old enough is finished by a process of its own (sorted, counted, packed: `NAME.jsonl.zst`), so that
serving does not feel it. A part that a killed process left behind is finished by the next one that starts here; one
that could not be finished (a full disk) is tried again. What a full disk does not take is left out and counted.
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
from io import FileIO
from pathlib import Path

from contracts.clock import wall_clock_ms
from contracts.errors import NextclickError
from contracts.outage import Outage
from eventlog.contract import Record
from eventlog.sampling import in_sample
from gateway.background_writer import BackgroundWriter
from gateway.record_files import PART, PREFIX, is_written, parts_in
from gateway.settings import RecordOptions

log = logging.getLogger("nextclick.gateway")


AGAIN_MS = 30_000
"""A part that could not be finished is tried again after so long."""


class RecordingFailed(NextclickError):
    """A recording cannot be written; serving goes on without it."""


@dataclass(slots=True)
class _Part:
    """The part that is being written. Its file is locked while its writer lives."""

    path: Path
    file: FileIO
    opened_ms: int
    events: int = 0
    size: int = 0

    def append(self, lines: Sequence[bytes]) -> None:
        """Append whole lines, or none of them. Raises OSError."""
        left = memoryview(b"\n".join(lines) + b"\n")
        size = self.size + len(left)
        try:
            while left:  # a disk that fills up takes some of it first
                left = left[self.file.write(left) :]
        except OSError:
            self.file.truncate(self.size)
            self.file.seek(self.size)
            raise
        self.size = size
        self.events += len(lines)


@dataclass(slots=True)
class _Finishing:
    """A part on its way to a recording. `process` is None while it waits to be tried again, from `again_ms` on."""

    part: Path
    process: subprocess.Popen[bytes] | None = None
    again_ms: int = 0


class Recorder:
    """Takes accepted events and writes them by session sample. One for each process; use from its event loop."""

    def __init__(self, options: RecordOptions, *, clock: Callable[[], int] = wall_clock_ms) -> None:
        self._options, self._clock = options, clock
        self._folder = Path(options.to)
        self._part: _Part | None = None
        self._writing = threading.Lock()  # a batch is appended in one thread while the clock ends the part in another
        self._finishing: list[_Finishing] = []
        self._unfinished = Outage(log, "recordings are not finished: ")
        self._made = 0
        self.line: BackgroundWriter[bytes] = BackgroundWriter(
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
        """Finish a part that has become old enough, and try again what could not be finished. Call now and then."""
        part = self._part
        if part is not None and self._clock() - part.opened_ms >= self._options.seconds * 1000:
            await asyncio.to_thread(self._rotate, part)
        await asyncio.to_thread(self._look_after_finishing)

    async def begin_anew(self, timeout_s: float) -> None:
        """Write what waits, and begin another file: the one before is finished, and may be written again by others."""
        await self.line.settled(timeout_s)
        if self._part is not None:
            await asyncio.to_thread(self._rotate, self._part)

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
                part.append(lines)
        except OSError as error:
            raise RecordingFailed(f"{self._folder}: recordings cannot be written here ({error})") from error
        if part.events >= self._options.events:
            self._rotate(part)

    def _open(self) -> _Part:
        now_ms = self._clock()
        at = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S")
        self._made += 1
        path = self._folder / f".{PREFIX}{at}-{os.getpid()}-{self._made}{PART}"
        file = FileIO(path, "xb")  # without a buffer: what the disk did not take is nowhere
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _Part(path, file, now_ms)

    def _rotate(self, part: _Part) -> None:
        with self._writing:
            if self._part is not part:
                return  # full and old at the same time: the other was first
            self._part = None
            with suppress(OSError):
                part.file.close()
            self._finish(part.path)

    def _finish(self, path: Path) -> None:
        """Have a part turned into a recording, and the oldest recordings let go of."""
        self._finishing.append(self._start(_Finishing(path)))

    def _start(self, one: _Finishing) -> _Finishing:
        command = [sys.executable, "-m", "gateway.record_files", str(one.part), str(self._options.files)]
        try:
            one.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            self._try_later(one, str(error))
        return one

    def _try_later(self, one: _Finishing, why: str) -> None:
        self._unfinished.failed(f"{one.part}: {why}. Trying again every {AGAIN_MS / 1000:.0f} s")
        one.process, one.again_ms = None, self._clock() + AGAIN_MS

    def _look_after_finishing(self) -> None:
        with self._writing:
            for one in list(self._finishing):
                if one.process is None:
                    if self._clock() >= one.again_ms:
                        self._start(one)
                elif one.process.poll() is not None:
                    self._ended(one, one.process)

    def _ended(self, one: _Finishing, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr as said:
            why = said.read().decode(errors="replace").strip().rpartition("\n")[2]
        if process.returncode:
            self._try_later(one, why)
        else:
            self._finishing.remove(one)
            if all(other.process is not None for other in self._finishing):
                self._unfinished.over()

    def _wait(self, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        for one in self._finishing:
            if one.process is not None:
                with suppress(subprocess.TimeoutExpired):
                    one.process.wait(max(0.0, until - time.monotonic()))
        self._look_after_finishing()
