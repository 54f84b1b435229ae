"""What a load needs, as a function of measured slopes: processor time a request and a click, and bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

DAY_S = 86_400.0
PEAK = 3.0
"""The busiest minute of a day, against the day's mean."""
USABLE = 0.6
"""Share of a core that may be busy at the peak: what is above it waits."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """Processor microseconds by process: a request (its impressions counted) and a click."""

    request_us: dict[str, float]
    click_us: dict[str, float]
    event_bytes: float = 250.0
    partition_events: float = 10_000.0
    """Events a second that one partition of the log takes comfortably."""

    def cores(self, name: str, requests: float, clicks: float) -> float:
        """Return the cores that processes of a name keep busy at so many requests and clicks a second."""
        return (requests * self.request_us.get(name, 0.0) + clicks * self.click_us.get(name, 0.0)) / 1e6


@dataclass(frozen=True, slots=True)
class Need:
    """What a load keeps busy, and how many processes and machines that makes."""

    requests: float
    clicks: float
    busy_cores: dict[str, float]
    processes: dict[str, int]
    cores: int
    partitions: int
    log_bytes_a_day: float
    cost_a_month: float


def need(slopes: Slopes, *, requests: float, clicks: float, core_hour: float = 0.04, usable: float = USABLE) -> Need:
    """Return what `requests` and `clicks` a second need at their peak. `core_hour` is the price of a core for an hour.

    A process of ours computes on one core; Redis serves on one as well, so more of it means shards. Raises ValueError
    for a share of a core outside 0 to 1.
    """
    if not 0.0 < usable <= 1.0:
        raise ValueError(f"expected a share of a core above 0 and up to 1, got {usable}")
    names = sorted({*slopes.request_us, *slopes.click_us})
    busy = {name: slopes.cores(name, requests, clicks) for name in names}
    processes = {name: max(1, ceil(cores / usable - 1e-9)) for name, cores in busy.items()}
    cores = sum(processes.values())
    events = requests + clicks  # a request's impressions are one event
    return Need(
        requests=requests,
        clicks=clicks,
        busy_cores=busy,
        processes=processes,
        cores=cores,
        partitions=max(1, ceil(events / slopes.partition_events)),
        log_bytes_a_day=events * slopes.event_bytes * DAY_S / PEAK,
        cost_a_month=cores * core_hour * 730.0,
    )


def peak_of(events_a_day: float) -> float:
    """Return events a second in the busiest minute of a day with so many events."""
    return events_a_day / DAY_S * PEAK


def slopes_of(rows: dict[str, float]) -> Slopes:
    """Return the slopes that a profile's rows give, by their names. The load generator is none of ours; gateways are
    one kind, however many there are. Raises ValueError where the rows are no profile's.
    """
    found: dict[str, dict[str, float]] = {"request": {}, "click": {}}
    for name, value in rows.items():
        kind, _, process = name.partition(": ")
        if kind in found and process and not process.startswith(("all", "load generator")):
            process = "gateway" if process.startswith("gateway-") else process
            found[kind][process] = found[kind].get(process, 0.0) + value
    if not (found["request"] and found["click"]):
        raise ValueError("expected rows of build/bench/profile.json, `request: gateway-0` and the like, got none")
    return Slopes(found["request"], found["click"])
