"""GET /api/webhooks: what is set, what waits, what became of calls; the same as figures. Secrets are never shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any, Final

from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from pydantic import BaseModel, Field

from contracts.errors import StateUnavailable
from contracts.keys import WEBHOOKS
from contracts.masked import masked
from contracts.settings import RedisSettings, WebhookOptions
from gateway.keys import CLOCK, SETTINGS
from gateway.metrics import PREFIX
from gateway.problems import refused_for_now
from gateway.read_figures import ReadFigures
from gateway.wire import json_response
from state.due_calls import DueCalls, Queue

_SECONDS: Final = ("keep", "first_pause", "longest_pause", "timeout")
_NUMBERS: Final = ("price_drop", "max_items", "max_users", "users_a_call", "attempts", "max_waiting")


class WebhookSettings(BaseModel):
    """What is set; `url` empty: nothing is told. `_s`: seconds."""

    url: str = Field(description="A user and password in it are masked.")
    allow: list[str]
    secrets: int = Field(description="How many secrets sign each call.")
    price_drop: float
    keep_s: float
    max_items: int
    max_users: int
    users_a_call: int
    attempts: int
    first_pause_s: float
    longest_pause_s: float
    timeout_s: float
    max_waiting: int


class WebhookQueue(BaseModel):
    """What waits. Times are epoch milliseconds; null where nothing waits."""

    waiting: int
    due: int = Field(description="Of those that wait: to be sent now.")
    oldest_ms: int | None = Field(description="When that happened which has waited longest to be told.")
    next_ms: int | None = Field(description="When the next call is due.")


class WebhookCounts(BaseModel):
    """What became of calls since the deployment began."""

    delivered: int
    dead: int = Field(description="Given up: dead letters.")
    left_out: int = Field(description="Not kept, as `webhooks.max_waiting` others waited.")


class WebhookFailure(BaseModel):
    """An attempt that was not taken."""

    at_ms: int
    id: str = Field(description="The call's `Idempotency-Key`.")
    about: str = Field(description="Type and item, as far as they are known.")
    attempt: int
    why: str
    over: bool = Field(description="There will be no other attempt: it is a dead letter.")


class WebhooksAnswer(BaseModel):
    at_ms: int
    on: bool
    settings: WebhookSettings
    queue: WebhookQueue
    counts: WebhookCounts
    failures: list[WebhookFailure] = Field(description="The newest 20, newest first.")


class LookedQueue:
    """The queue of webhooks, to be looked at from any thread. Raises StateUnavailable."""

    def __init__(self, redis: RedisSettings, clock_ms: Callable[[], int]) -> None:
        self._redis, self._clock_ms, self._lock = redis, clock_ms, Lock()
        self._queue: DueCalls | None = None

    def look(self) -> Queue:
        with self._lock:
            if self._queue is None:
                self._queue = DueCalls(self._redis, WEBHOOKS, most=0)
            return self._queue.look(self._clock_ms())


QUEUE: Final = web.AppKey("queue of webhooks", LookedQueue)
WEBHOOK_FIGURES: Final = web.AppKey("webhook figures", ReadFigures[tuple[Queue, int]])


def webhook_figures(queue: LookedQueue, options: WebhookOptions, clock_ms: Callable[[], int]) -> Any:
    """Return what shows the queue on `/metrics`; it reads nothing where webhooks are off."""
    return ReadFigures(lambda: (queue.look(), clock_ms()) if options.on else None, figures)


async def get_webhooks(request: web.Request) -> web.Response:
    """Show how webhooks do."""
    app = request.app
    try:
        queue = await asyncio.to_thread(app[QUEUE].look)
    except StateUnavailable as error:
        raise refused_for_now(error) from error
    answer = WebhooksAnswer(
        at_ms=app[CLOCK](),
        on=app[SETTINGS].webhooks.on,
        settings=_settings(app[SETTINGS].webhooks),
        queue=WebhookQueue(**{name: getattr(queue, name) for name in WebhookQueue.model_fields}),
        counts=WebhookCounts(**queue.counts),
        failures=[WebhookFailure(id=one.name, **_without_name(one._asdict())) for one in queue.failures],
    )
    return json_response(answer.model_dump())


def _settings(options: WebhookOptions) -> WebhookSettings:
    return WebhookSettings(
        url=masked(options.url),
        allow=[masked(origin) for origin in options.allow],
        secrets=len(options.secrets),
        **{name: getattr(options, name) for name in _NUMBERS},
        **{f"{name}_s": getattr(options, name).total_seconds() for name in _SECONDS},
    )


def _without_name(failure: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in failure.items() if name != "name"}


def figures(found: tuple[Queue, int] | None) -> Iterator[Metric]:
    """Yield the metrics of a queue as it was at a moment (epoch ms); none without one. Pure."""
    if found is None:
        return
    queue, now_ms = found
    age_s = 0.0 if queue.oldest_ms is None else max(0.0, (now_ms - queue.oldest_ms) / 1000)
    yield GaugeMetricFamily(PREFIX + "webhooks_waiting", "Calls to the shop's server that wait.", queue.waiting)
    yield GaugeMetricFamily(PREFIX + "webhooks_oldest_seconds", "How long the oldest of them has waited.", age_s)
    ended = CounterMetricFamily(
        PREFIX + "webhooks_ended",
        "Calls of the whole deployment, by what became of them; left_out: too many waited.",
        labels=["outcome"],
    )
    for outcome, count in queue.counts.items():
        ended.add_metric([outcome], count)
    yield ended
