"""`python -m gateway`: serve until SIGTERM, in as many processes as the settings say. They share one port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from types import FrameType

from contracts.loaded import loading

with loading():
    from compiled.kernels import prepare
    from contracts.exits import or_exit
    from contracts.logs import log_as
    from gateway.app import create_app
    from gateway.exposure import expect_guarded
    from gateway.neighbours import expect_same_deployment
    from gateway.serving import run
    from gateway.settings import GatewaySettings
    from gateway.workers import Served, keep_running, tell_served
    from rerank.site_rules import load_rules
    from state.restore_mark import expect_whole

WORKER = "NEXTCLICK_GATEWAY_PARENT"
"""Environment variable: the process id of the parent that a worker belongs to."""

SERVED = "NEXTCLICK_GATEWAY_SERVED"
"""Environment variable: the open pipe in which a worker tells its parent that it listens."""


def main() -> None:
    """Serve in this process, or start one worker a core and keep them running."""
    log_as("gateway")
    settings = or_exit(GatewaySettings)
    or_exit(partial(load_rules, settings.pipeline.rules))
    or_exit(partial(expect_same_deployment, settings))
    or_exit(partial(expect_whole, settings.redis))
    processes = settings.gateway.processes or os.cpu_count() or 1
    parent = os.environ.get(WORKER)
    if parent is None:
        or_exit(partial(expect_guarded, settings.gateway, settings.redis))
    if parent is None and processes > 1:
        sys.exit(_keep_running(processes))
    if parent is not None:
        threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    or_exit(partial(serve, settings))


def serve(settings: GatewaySettings) -> None:
    """Serve in this process until SIGTERM or SIGINT, then finish what was taken. Raises ArtifactError.

    Kernels are compiled, and tables loaded, before the port is opened: no request waits for one.
    """
    prepare()
    pipe = os.environ.pop(SERVED, None)
    run(create_app(settings), listens=(lambda: None) if pipe is None else partial(tell_served, int(pipe)))


def _keep_running(processes: int) -> int:
    """Keep the workers running until SIGTERM or SIGINT, and end them."""
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    served = Served()
    return keep_running(processes, partial(_start_worker, processes, served.pipe), lambda: stopping, served)


def _start_worker(processes: int, pipe: int) -> subprocess.Popen[bytes]:
    told = {WORKER: str(os.getpid()), SERVED: str(pipe), "NEXTCLICK_GATEWAY__TOGETHER": str(processes)}
    command = [sys.executable, "-m", "gateway"]
    return subprocess.Popen(command, env={**os.environ, **told}, start_new_session=True, pass_fds=[pipe])


def _end_with(parent: int) -> None:
    """End this worker when its parent is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
