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
    one kind, however many there are. Raises ValueError where the rows are no profile's, or of one
    that cannot be relied on.
    """
    found: dict[str, dict[str, float]] = {"request": {}, "click": {}}
    for name, value in rows.items():
        kind, _, process = name.partition(": ")
        if kind in found and process and not process.startswith(("all", "load generator")):
            process = "gateway" if process.startswith("gateway-") else process
            found[kind][process] = found[kind].get(process, 0.0) + value
    if not (found["request"] and found["click"]):
        raise ValueError("expected rows of build/bench/profile.json, `request: gateway-0` and the like, got none")
    below = sorted(name for each in found.values() for name, value in each.items() if value < 0)
    if below:
        raise ValueError(f"{', '.join(below)} used less than when idle: measure on a machine that does nothing else")
    return Slopes(found["request"], found["click"])


def main(words: list[str] | None = None) -> None:
    """Print what a load needs by the profile in a file."""
    import argparse
    from pathlib import Path

    import orjson

    from nextclick.bench.report import console

    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.capacity", description=main.__doc__)
    parser.add_argument("profile", type=Path, help="build/bench/profile.json")
    parser.add_argument("--requests", type=float, default=50_000.0, help="requests a second at the peak")
    parser.add_argument("--events-a-day", type=float, default=1e9, help="clicks of a day")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of a core for an hour")
    given = parser.parse_args(words)
    rows = {row["name"]: row["value"] for row in orjson.loads(given.profile.read_bytes())["rows"]}
    clicks = peak_of(given.events_a_day)
    found = need(slopes_of(rows), requests=given.requests, clicks=clicks, core_hour=given.core_hour)
    console.print(f"{given.requests:,.0f} requests/s and {clicks:,.0f} clicks/s at the peak")
    for name, count in found.processes.items():
        console.print(f"  {name}: {count:,} processes, {found.busy_cores[name]:.1f} cores busy")
    console.print(f"  {found.cores:,} cores, {found.cost_a_month:,.0f} a month at {given.core_hour:g} a core and hour")
    console.print(f"  {found.partitions} partitions of the log, {found.log_bytes_a_day / 1e9:,.0f} GB a day")


if __name__ == "__main__":
    main()
