"""Process 1 of a container: the kernel gives it every orphan there, and sends it no signal that it does not handle.

So as process 1 this program becomes two: one that only passes signals on and reaps, and one that does the work.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
_SI_KERNEL = 128
"""Code of a signal that a terminal sent: every process of the foreground has it already."""


def work_beside_init() -> None:
    """Return in a process that is not process 1. Process 1 itself stays in here, and exits as its child does."""
    if os.getpid() != 1:
        return
    waited_for = PASSED_ON | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)  # none may get lost between fork and wait
    worker = os.fork()
    if worker == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    code: int | None = None
    while code is None:
        received = signal.sigwaitinfo(waited_for)
        if received.si_signo == signal.SIGCHLD:
            code = _reap(worker)
        elif received.si_code != _SI_KERNEL:
            with suppress(ProcessLookupError):
                os.kill(worker, received.si_signo)
    os._exit(code)


def _reap(worker: int) -> int | None:
    """Reap everything that has ended; return the worker's exit status if it was among it, as a shell tells it."""
    code: int | None = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == worker:
                ended = os.waitstatus_to_exitcode(status)
                code = ended if ended >= 0 else 128 - ended
    return code
