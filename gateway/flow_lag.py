"""How far each flow is behind the log, by topic and partition, in records and in seconds: what autoscaling reads."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric

from contracts.errors import StateUnavailable
from gateway.keys import LAG
from gateway.log_ends import Ends, log_ends
from state.read_progress import READERS, Told

LOOKS: Final = 240
"""Looks at the ends of the log that are remembered: an hour, where it is looked every fifteen seconds."""
APART_S: Final = 5.0


class Behind(NamedTuple):
    """What a flow has yet to read of a partition. Its oldest record is there for `seconds` at least."""

    flow: str
    topic: str
    partition: int
    records: int
    seconds: float


class EndLooks:
    """When the log ended where. Records have no common clock, so how long one waits is told by when its offset was
    first seen to be there: never too long, and too short by the time between two looks at most.
    """

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Ends]] = deque(maxlen=LOOKS)

    def note(self, ends: Ends, now_s: float) -> None:
        if not self._looks or now_s - self._looks[-1][0] >= APART_S:
            self._looks.append((now_s, ends))

    def waits_s(self, topic: str, partition: int, reached: int, now_s: float) -> float:
        """Return for how long a record at `reached` has been there; 0.0 where no look saw it."""
        return next((now_s - at_s for at_s, ends in self._looks if ends[topic][partition] > reached), 0.0)


def behind(told: Told, ends: Ends, looks: EndLooks, now_s: float) -> list[Behind]:
    """Return what flows that have read anything have yet to read, by partition."""
    found = []
    for flow, topic in READERS:
        own = {at[2]: n for at, n in told.reached.items() if at[:2] == (flow, topic)}
        for partition, end in enumerate(ends[topic] if own else ()):
            reached = own.get(partition, 0)
            records = max(0, end - reached)
            waits_s = looks.waits_s(topic, partition, reached, now_s) if records else 0.0
            found.append(Behind(flow, topic, partition, records, waits_s))
    return found


class FlowLag:
    """Asked at each scrape; nothing is shown of what is not known then."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s, self._looks = clock_s, EndLooks()
        self.found: list[Behind] = []

    async def refresh(self, app: web.Application) -> None:
        try:
            told, ends = await app[LAG].told(), await log_ends(app)
        except (StateUnavailable, TimeoutError):
            ends = None
        if ends is None:
            self.found = []
            return
        now_s = self._clock_s()
        self._looks.note(ends, now_s)
        self.found = behind(told, ends, self._looks, now_s)

    def collect(self) -> Iterator[Metric]:
        labels = ["flow", "topic", "partition"]
        records = GaugeMetricFamily(
            "nextclick_gateway_flow_records_behind",
            "Records of the partition that the flow has not read.",
            labels=labels,
        )
        seconds = GaugeMetricFamily(
            "nextclick_gateway_flow_seconds_behind",
            "For how long the oldest of them has been there, at least.",
            labels=labels,
        )
        for one in self.found:
            records.add_metric([one.flow, one.topic, str(one.partition)], one.records)
            seconds.add_metric([one.flow, one.topic, str(one.partition)], one.seconds)
        yield records
        yield seconds


FLOW_LAG = web.AppKey("lag of flows", FlowLag)
