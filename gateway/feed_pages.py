"""GET /api/feeds: which feeds there are, how their pulls went, and what was wrong; the same as figures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric
from pydantic import BaseModel, Field

from contracts.errors import StateUnavailable
from contracts.feed_status import FeedsStatus, FeedStatus
from gateway.keys import CLOCK
from gateway.metrics import PREFIX
from gateway.problems import refused_for_now
from gateway.read_figures import ReadFigures
from gateway.wire import json_response
from state.feed_status import FeedStatusStore

SILENT_MS: Final = 180_000
"""Whoever pulls feeds says so once a minute."""
FEEDS: Final = web.AppKey("feeds", FeedStatusStore)
FEED_FIGURES: Final = web.AppKey("feed figures", ReadFigures[FeedsStatus])
_EACH: Final = (
    ("feed_success_timestamp_seconds", "When a feed was applied last, or was as it had been; 0: never."),
    ("feed_every_seconds", "How often a feed is pulled."),
    ("feed_held", "1 while a feed is held back until somebody confirms it."),
)


class FeedsAnswer(BaseModel):
    """`told_ms`: when whoever pulls feeds told of them last; null where nobody ever did. `pulled`: it said so within
    three minutes: feeds are pulled when they are due.
    """

    at_ms: int
    told_ms: int | None
    pulled: bool = Field(description="Somebody pulls them: it said so within three minutes.")
    feeds: list[FeedStatus]


async def get_feeds(request: web.Request) -> web.Response:
    """Show the feeds."""
    now_ms = request.app[CLOCK]()
    try:
        status = await asyncio.to_thread(request.app[FEEDS].read)
    except StateUnavailable as error:
        raise refused_for_now(error) from error
    answer = FeedsAnswer(
        at_ms=now_ms,
        told_ms=None if status is None else status.at_ms,
        pulled=status is not None and now_ms - status.at_ms <= SILENT_MS,
        feeds=[] if status is None else list(status.feeds),
    )
    return json_response(answer.model_dump())


def figures(status: FeedsStatus | None) -> Iterator[Metric]:
    """Yield the metrics of feeds; none where there are no feeds. Pure."""
    if status is None or not status.feeds:
        return
    families = [GaugeMetricFamily(PREFIX + name, about, labels=["feed"]) for name, about in _EACH]
    for feed in status.feeds:
        held = bool(feed.pulls) and feed.pulls[0].outcome == "held"
        for family, value in zip(families, (feed.well_ms / 1000, feed.every_s, float(held)), strict=True):
            family.add_metric([feed.name], value)
    yield from families
