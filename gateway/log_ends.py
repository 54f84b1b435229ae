"""Where the log ends, by topic and partition: asked of Redis, or of Kafka every few seconds at most."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from math import inf
from typing import Final

from aiohttp import web

from contracts.errors import LogUnavailable, SettingsError, StateUnavailable
from contracts.keys import Keys
from contracts.redis_answers import whole
from contracts.settings import LogSettings
from eventlog.contract import Topic
from gateway.keys import CLOCK, SETTINGS
from gateway.live import LIVE

Ends = dict[str, list[int]]
ENDS_EVERY_MS: Final = 5_000
"""A Kafka log is asked where it ends at most so often: by a connection made for it."""


@dataclass(slots=True)
class LogEnds:
    """Where a Kafka log ended when that was asked last."""

    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    at_ms: float = -inf
    ends: Ends | None = None


ENDS = web.AppKey("ends of the log", LogEnds)


async def log_ends(app: web.Application) -> Ends | None:
    """Return the next offset of each partition by topic; None while that is not known."""
    settings = app[SETTINGS]
    if settings.log.kind == "kafka":
        return await _kafka_ends(app, settings.log)
    return await _redis_ends(app, settings.log, Keys(settings.redis.prefix))


async def _kafka_ends(app: web.Application, log: LogSettings) -> Ends | None:
    """Ask the broker, by a connection of its own, unless that was done lately or is being done."""
    from eventlog.kafka_ends import kafka_ends  # kafka-python is loaded where the log is Kafka's

    kept, now_ms = app[ENDS], app[CLOCK]()
    if kept.asking.locked() or now_ms - kept.at_ms < ENDS_EVERY_MS:
        return kept.ends
    async with kept.asking:
        try:
            kept.ends = await asyncio.to_thread(kafka_ends, log)
        except (LogUnavailable, SettingsError):
            kept.ends = None
    kept.at_ms = now_ms
    return kept.ends


async def _redis_ends(app: web.Application, log: LogSettings, keys: Keys) -> Ends | None:
    places = [(topic, partition) for topic in Topic for partition in range(log.partitions)]
    try:
        answers = await app[LIVE].ask([("GET", keys.log_end(topic, partition)) for topic, partition in places])
    except (StateUnavailable, TimeoutError):
        return None
    ends: dict[str, list[int]] = {str(topic): [] for topic in Topic}
    for (topic, _), answer in zip(places, answers, strict=True):
        ends[str(topic)].append(whole(answer) or 0)
    return ends
