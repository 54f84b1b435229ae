"""How far the flows are behind the log, and whether they read on: looked at twice, where any is behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import closing

from contracts.settings import ServiceSettings
from eventlog.contract import Topic
from eventlog.open_log import open_reader
from nextclick.stack.doctor.facts import FlowFacts
from state.read_progress import READERS, read_told

LOOKS, PAUSE_S = 8, 0.25
"""A flow that has read nothing for two seconds stands still."""


def flow_facts(
    settings: ServiceSettings, flows: Iterable[str], sleep: Callable[[float], None] = time.sleep
) -> tuple[FlowFacts, ...]:
    """Return how flows do. Raises NextclickError where log or Redis does not answer."""
    names = tuple(flows)
    ends = {topic: _ends(settings, topic) for topic in {topic for flow, topic in READERS if flow in names}}
    first = _reached(settings, names)
    behind = {name: _behind(ends, first[name], name) for name in names}
    latest = first
    for _ in range(LOOKS):
        if all(not behind[name] or latest[name] != first[name] for name in names):
            break
        sleep(PAUSE_S)
        latest = _reached(settings, names)
    lost = read_told(settings.redis).lost
    return tuple(
        FlowFacts(
            name,
            behind[name],
            moved=max(0, sum(latest[name].values()) - sum(first[name].values())),
            lost=sum(count for (flow, _), count in lost.items() if flow == name),
        )
        for name in names
    )


def _ends(settings: ServiceSettings, topic: str) -> dict[int, int]:
    partitions = list(range(settings.log.partitions))
    with closing(open_reader(settings.log, settings.redis, Topic(topic), partitions, "doctor")) as reader:
        return dict(reader.ends())


def _reached(settings: ServiceSettings, names: Iterable[str]) -> dict[str, dict[tuple[str, int], int]]:
    told = read_told(settings.redis).reached
    return {
        name: {(topic, partition): at for (flow, topic, partition), at in told.items() if flow == name}
        for name in names
    }


def _behind(ends: dict[str, dict[int, int]], reached: dict[tuple[str, int], int], name: str) -> int:
    topics = [topic for flow, topic in READERS if flow == name]
    return sum(max(0, end - reached.get((topic, p), 0)) for topic in topics for p, end in ends[topic].items())
