"""`nextclick flow`: one flow in one or more processes, which are stopped, and started again, together."""

from __future__ import annotations

import os
import signal
import sys
import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Flow(StrEnum):
    """Flows by their names."""

    SESSIONS = "sessions"
    ITEMS = "items"
    TRENDS = "trends"
    PROFILES = "profiles"
    ATTRIBUTION = "attribution"
    QUALITY = "quality"


Name = Annotated[
    Flow, typer.Argument(metavar="FLOW", help="sessions, items, trends, profiles, attribution or quality.")
]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes. Another number later loses nothing.")]
Recovery = Annotated[
    Path | None, typer.Option(help="Folder that the trends flow recovers from; without, it counts what the log holds.")
]


def flow(name: Name, workers: Workers = 1, recovery: Recovery = None) -> None:
    """Run one flow until Ctrl-C or SIGTERM, started again when it dies. For where `up` does not run everything."""
    from nextclick.show.supervision import log_with_time
    from nextclick.stack.flow_workers import FlowWorkers, recovery_of

    log_with_time()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stopping.set())
    arguments = recovery_of(name.value, recovery)
    status = FlowWorkers(name.value, workers, arguments, os.environ).run(stopping)
    if status:
        sys.exit(status)
