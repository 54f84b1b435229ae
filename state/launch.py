"""Processes that end with this one: started from a thread that lives as long as it does, with a bounded log each.

The kernel's death signal belongs to the thread that forked: it comes when that thread ends, not only when its process
does. So one thread forks for everybody, and nothing but the end of the process ends it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

LOG_BYTES = 16 << 20
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded here: a forked child may call it, but may not load it

_Start = Callable[[], "subprocess.Popen[bytes]"]


@dataclass(frozen=True, slots=True)
class LogFile:
    """What a process says, in a file of at most `limit` bytes: what is older moves to NAME.1, over what was there."""

    path: Path
    limit: int = LOG_BYTES

    @property
    def older(self) -> Path:
        """Where the log goes that has reached its bound."""
        return self.path.with_name(f"{self.path.name}.1")

    def open(self) -> int:
        """Return a descriptor to append to, the caller's to close. Of a file that cannot be opened (a full disk, no
        rights): one of /dev/null, as no process shall stay away for its log's sake. Raises OSError without descriptors.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def bound(self) -> None:
        """Move a log away that is past its bound. The process writes on to the same file, at its new end: what it says
        between the copy and the cut, microseconds, is lost.
        """
        with suppress(OSError):  # a full disk must not end the watching
            if self.path.stat().st_size > self.limit:
                shutil.copy(self.path, self.older)  # with its rights
                os.truncate(self.path, 0)

    def tail(self, length: int = 1500) -> str:
        """Return its end, in bytes."""
        said = b""
        for file in (self.older, self.path):
            with suppress(OSError), file.open("rb") as log:
                log.seek(max(0, file.stat().st_size - length))
                said += log.read()
        return said[-length:].decode(errors="replace") or "(no log)"


def launch(
    command: Sequence[str], log: LogFile | None, *, env: Mapping[str, str] | None = None, umask: int = -1
) -> subprocess.Popen[bytes]:
    """Start a process that ends when this one does, however this one ends. It has a session of its own, so that a
    Ctrl-C reaches only us, and we stop it in order. Without a log its output goes where ours does. `umask` takes rights
    from the files that it makes; -1 leaves ours. Raises OSError, SubprocessError, RuntimeError.
    """
    return _forker.call(partial(_start, command, log, env, umask))


def _start(
    command: Sequence[str], log: LogFile | None, env: Mapping[str, str] | None, umask: int
) -> subprocess.Popen[bytes]:
    out = log.open() if log is not None else None
    try:
        return subprocess.Popen(
            command,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT if log is not None else None,
            start_new_session=True,
            umask=umask,
            preexec_fn=partial(_die_with, os.getpid()),  # noqa: PLW1509 (two system calls, take no lock)
        )
    finally:
        if out is not None:
            os.close(out)


def _die_with(parent: int) -> None:
    """In a child, before it becomes another program: have the kernel end it when its parent is gone.

    The parent may be gone already; whoever inherits orphans here need not be process 1, and the parent may be.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


class _Forker:
    """Starts processes in one thread, which is started with the first of them and never ends."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[_Start, Future[subprocess.Popen[bytes]]]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def call(self, start: _Start) -> subprocess.Popen[bytes]:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():  # not alive: this process is itself a fork
                thread = threading.Thread(target=self._run, name="launch", daemon=True)
                thread.start()
                self._thread = thread
        answer: Future[subprocess.Popen[bytes]] = Future()
        self._asked.put((start, answer))
        return answer.result()

    def _run(self) -> None:
        while True:
            start, answer = self._asked.get()
            try:
                answer.set_result(start())
            except BaseException as error:  # whatever it was belongs to who asked
                answer.set_exception(error)
            del start, answer  # keep no process alive in a variable


_forker = _Forker()
