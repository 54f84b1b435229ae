"""One process that picks: `python -m nextclick.campaign.worker FOLDER NUMBER OF`. Started by `nextclick.campaign.run`.

Its parts of the run are those whose number is its own, counted by the number of workers.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from campaigns.caps import Cap
from compiled.kernels import prepare
from contracts.errors import OutputRefused
from contracts.exits import or_exit
from contracts.logs import log_as
from gateway.campaigner import Asked, campaigner
from gateway.settings import GatewaySettings
from nextclick.campaign.work import Plan, Work

NICENESS: Final = "NEXTCLICK_CAMPAIGN_NICENESS"
"""Environment variable: by how much live requests go before; at 19 they go before altogether (SCHED_IDLE)."""
_ALTOGETHER: Final = 19
_AUTOGROUP: Final = Path("/proc/self/autogroup")


def asked_of(plan: Plan) -> Asked:
    """Return what a plan asks for each user."""
    wanted = plan.wanted
    return Asked(
        wanted.campaign,
        wanted.scenario,
        plan.at_ms,
        wanted.limit,
        wanted.fields,
        wanted.filter,
        wanted.consent,
        Cap(wanted.most, timedelta(seconds=wanted.within_s)) if wanted.most else None,
        wanted.impressions,
    )


def step_back(niceness: int) -> None:
    """Let others go before: by the scheduler's weights, or altogether.

    Where the kernel groups processes by session (autogroup), as each worker is one, a weight counts within its group
    alone, so the group steps back too: see sched(7).
    """
    if not niceness:
        return
    os.nice(niceness)
    with suppress(OSError):  # a kernel that does not group
        _AUTOGROUP.write_text(str(niceness))
    if niceness >= _ALTOGETHER:
        with suppress(OSError, AttributeError):  # a kernel that has no such class
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


async def pick(settings: GatewaySettings, work: Work, worker: int, workers: int) -> None:
    """Make this worker's parts, one after the other."""
    plan = work.plan()
    if plan is None:
        raise OutputRefused(f"{work.folder}: expected a campaign that was begun")
    async with campaigner(settings, asked_of(plan)) as picking:
        for number, recipients in work.batches(plan, worker, workers):
            found = await picking.pick(recipients)
            work.put_part(number, found.picks, found.degraded)


def main() -> None:
    folder, worker, workers = sys.argv[1:]
    log_as("campaign")
    step_back(int(os.environ.get(NICENESS, "0")))
    settings = or_exit(GatewaySettings)
    prepare()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        or_exit(partial(runner.run, pick(settings, Work(Path(folder)), int(worker), int(workers))))


if __name__ == "__main__":
    main()
