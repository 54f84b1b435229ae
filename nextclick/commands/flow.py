"""`nextclick flow`: one flow in one or more processes, which are stopped, and started again, together."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from functools import partial
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
Workers = Annotated[
    int, typer.Option(min=1, max=64, help="Processes on this machine. Another number later loses nothing.")
]
Recovery = Annotated[
    Path | None, typer.Option(help="Folder that the trends flow recovers from; without, it counts what the log holds.")
]
Index = Annotated[
    int | None, typer.Option(min=0, help="Which --address is this machine's, from 0; NEXTCLICK_FLOW__INDEX.")
]
Address = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Of each machine, in one order everywhere; its processes take the port and those that follow. For the "
        "trends flow on several machines: others need none. NEXTCLICK_FLOW__ADDRESSES.",
    ),
]


def flow(
    name: Name, workers: Workers = 1, index: Index = None, address: Address = None, recovery: Recovery = None
) -> None:
    """Run one flow until Ctrl-C or SIGTERM, started again when it dies. For where `up` does not run everything.

    On several machines start it on each. The trends flow needs --index and --address for that, as its processes
    exchange what they count; those of other flows share the partitions with whoever is there, and take over from who
    is not.
    """
    from contracts.errors import StartupError
    from contracts.exits import or_exit
    from contracts.stopping import stopping_on_signals
    from flows.settings import FlowSettings
    from nextclick.show.setting_names import warn_of_unknown
    from nextclick.show.supervision import log_with_time
    from nextclick.stack.flow_cluster import cluster_of
    from nextclick.stack.flow_ports import expect_ports
    from nextclick.stack.flow_workers import expect_recoverable, recovery_of, run_flow
    from state.flow_members import leave

    log_with_time("flow")
    warn_of_unknown(os.environ)
    stopping = stopping_on_signals()
    expect_recoverable(name.value, recovery)
    settings = or_exit(FlowSettings)
    machines = address or [one for one in settings.flow.addresses.split(",") if one.strip()]
    told = index is not None or "index" in settings.flow.model_fields_set
    place = settings.flow.index if index is None else index
    cluster = cluster_of(machines, place if told else None, workers) if machines else None
    if cluster is not None:
        expect_ports(cluster)
    elif index is not None:
        raise StartupError(f"--index {index}: expected --address of each machine beside it, found none")
    arguments = recovery_of(recovery, is_first=cluster is None or place == 0)
    status = run_flow(
        *(name.value, workers, arguments, os.environ, stopping),
        leave=partial(leave, settings.redis, name.value),
        cluster=cluster,
    )
    if status:
        sys.exit(status)
