"""`python -m judge`: looks at running experiments, writes their reports, stops and promotes where they say it may."""

from __future__ import annotations

import logging
import os
import re
import time
from functools import partial
from importlib.util import find_spec
from typing import Final

from contracts.api_keys import VARIABLE
from contracts.clock import wall_clock_ms
from contracts.errors import SettingsError
from contracts.exits import or_exit
from contracts.logs import log_as
from contracts.observed import serve_metrics
from contracts.settings import ServiceSettings
from judge.bandits import SHARES_EVERY_S, SharesJob
from judge.figures import FIGURES
from judge.gateway import Gateway
from judge.looks import Looks
from judge.own_key import own_key
from judge.published import Published
from judge.sources import StoredSources
from judge.tick import Job, run_for_ever
from state.audit import AuditLog
from state.experiment_reports import ReportStore
from state.presence import announce

log = logging.getLogger("nextclick.judge")

_TOKEN: Final = re.compile(r"[\x21-\x7e]{0,4096}")


def jobs_of(settings: ServiceSettings) -> list[Job]:
    """Return what comes again and again. Another job is another line here. Raises SettingsError."""
    bandits = SharesJob(settings.redis, Published(settings.redis).known, wall_clock_ms)
    shares = Job("shares of bandits", SHARES_EVERY_S, bandits.write)
    reports = Job("reports", settings.judge.every.total_seconds(), looks_of(settings).look)
    if find_spec("scipy") is None:
        log.warning("no reports of experiments: they need scipy, which the `experiments` extra brings")
        return [shares]
    return [reports, shares]


def looks_of(settings: ServiceSettings) -> Looks:
    """Wire the looks. Nothing is connected before the first. Raises SettingsError."""
    key, redis = os.environ.get(VARIABLE, "").strip(), settings.redis
    if not _TOKEN.fullmatch(key):
        raise SettingsError(f"{VARIABLE}: expected one API key, such as ncs_..., got something with other letters")
    return Looks(
        Published(redis),
        StoredSources(settings),
        ReportStore(redis),
        AuditLog(redis),
        Gateway(settings.judge.gateway, key, partial(own_key, redis, wall_clock_ms)),
        every_s=settings.judge.every.total_seconds(),
        max_lag_s=settings.judge.max_lag.total_seconds(),
        after_ms=settings.attribution.purchase_ms,
        clock_ms=wall_clock_ms,
    )


def main() -> None:
    log_as("judge")
    settings = or_exit(ServiceSettings)
    jobs = or_exit(partial(jobs_of, settings))
    or_exit(partial(serve_metrics, "judge", settings.metrics, FIGURES))
    announce(settings.redis, "judge")
    run_for_ever(jobs, time.monotonic, time.sleep)


if __name__ == "__main__":
    main()
