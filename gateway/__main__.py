"""`python -m gateway`: serve until SIGTERM, in as many processes as the settings say. They share one port."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

import uvloop
from aiohttp import web

from gateway.app import create_app
from gateway.settings import GatewaySettings

log = logging.getLogger("nextclick.gateway")

RESTART_S = 1.0
WORKER = "NEXTCLICK_GATEWAY_PARENT"
"""Environment variable: the process id of the parent that a worker belongs to."""


def main() -> None:
    """Serve in this process, or start one worker a core and keep them running."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = GatewaySettings()
    processes = settings.gateway.processes or os.cpu_count() or 1
    parent = os.environ.get(WORKER)
    if parent is None and processes > 1:
        sys.exit(_keep_running(processes))
    if parent is not None:
        threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    serve(settings)


def serve(settings: GatewaySettings) -> None:
    """Serve in this process until SIGTERM or SIGINT, then finish what was taken."""
    web.run_app(
        create_app(settings),
        host=settings.gateway.host,
        port=settings.gateway.port,
        reuse_port=True,
        access_log=None,
        print=None,
        shutdown_timeout=settings.gateway.drain_s,
        loop=uvloop.new_event_loop(),
    )


def _keep_running(processes: int) -> int:
    """Start the workers, start again any that dies, and pass SIGTERM and SIGINT on."""
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    workers = [_start_worker() for _ in range(processes)]
    while not stopping:
        time.sleep(0.1)
        for at, worker in enumerate(workers):
            if worker.poll() is not None and not stopping:
                log.error("worker %d ended with %s: starting another", worker.pid, worker.returncode)
                time.sleep(RESTART_S)
                workers[at] = _start_worker()
    for worker in workers:
        worker.terminate()
    codes = [worker.wait() for worker in workers]
    return max(abs(code) if code != -signal.SIGTERM else 0 for code in codes)  # one may not have come up yet


def _start_worker() -> subprocess.Popen[bytes]:
    environment = {**os.environ, WORKER: str(os.getpid())}
    return subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, start_new_session=True)


def _end_with(parent: int) -> None:
    """End this worker when its parent is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
