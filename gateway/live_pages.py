"""GET /api/live: what all gateway processes of the deployment do now, over the last minutes."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from contracts.errors import StateUnavailable
from gateway.hour_figures import HOUR_FIGURES
from gateway.keys import CLOCK
from gateway.live import LIVE
from gateway.live_figures import ASKED, KEPT_STEPS, STEP_MS, stages, together
from gateway.problems import unavailable
from gateway.wire import Whole, json_response, validated
from state.presence import SILENT_MS

LATELY_STEPS: Final = 30
"""A minute: what stages, degraded answers and delays are told of."""


class LiveQuery(BaseModel):
    """From when on."""

    model_config = ConfigDict(extra="forbid")

    since_ms: Whole = Field(default=0, ge=0, le=2**53, description="Points from then on; five minutes at most.")


class LivePoint(BaseModel):
    """One step of time. `_s` is a second, of all processes that told; null where nothing was answered."""

    at_ms: int
    processes: int = Field(description="How many told of it: 0 where nobody looked.")
    requests_s: float
    recommendations_s: float
    errors_s: float = Field(description="Answers 5xx.")
    refused_s: float = Field(description="Answers 4xx.")
    events_s: float
    degraded_s: float
    p50_ms: float | None = Field(description="Time to answer recommendations.")
    p99_ms: float | None


class LiveStage(BaseModel):
    stage: str
    count: int
    p50_ms: float | None
    p99_ms: float | None


class Freshness(BaseModel):
    """How far sessions are behind; null while Redis does not tell."""

    clicks_behind: int | None = Field(description="Clicks in the log that no session has yet.")
    lag_ms: float | None = Field(description="From a click to its session: clicks behind over clicks a second.")


class LastHour(BaseModel):
    """Of the last full hour, as attribution counts it; null where it counts nothing."""

    shown: float | None
    clicks: float | None
    click_rate: float | None = Field(description="Clicks by items shown.")


class LiveAnswer(BaseModel):
    at_ms: int
    step_ms: int
    processes: int = Field(description="Gateway processes that answer now.")
    silent: int = Field(description="Gateway processes that were there and say nothing.")
    lately_s: int = Field(description="What `stages`, `degraded` and `stale` are of.")
    recommendations: int
    points: list[LivePoint]
    stages: list[LiveStage]
    degraded: dict[str, int]
    stale: int
    fresh: Freshness
    hour: LastHour


async def get_live(request: web.Request) -> web.Response:
    """Show the last minutes; processes go on counting by the second for as long as somebody asks."""
    query, app = validated(dict(request.query), LiveQuery), request.app
    live, now_ms = app[LIVE], app[CLOCK]()
    kept = STEP_MS * KEPT_STEPS
    since_ms = max(query.since_ms, now_ms - kept)
    try:
        steps, processes = await live.look(min(since_ms, now_ms - LATELY_STEPS * STEP_MS))
        gateways = [one for one in processes if one.kind == "gateway"]
        behind: int | None = await live.clicks_behind(gateways)
    except (StateUnavailable, TimeoutError) as error:
        raise unavailable("Redis does not answer, and numbers of other processes come from there: retry") from error
    lately = steps[-LATELY_STEPS:]
    grew = together(lately)
    there = [one for one in gateways if now_ms - one.at_ms <= SILENT_MS]
    told = [one for one in lately if one.processes]
    clicks_s = sum(one.rate("event", ("accepted",)) for one in told) / len(told) if told else 0.0
    await app[HOUR_FIGURES].refresh()
    return json_response(
        {
            "at_ms": now_ms,
            "step_ms": STEP_MS,
            "processes": len(there),
            "silent": len(gateways) - len(there),
            "lately_s": LATELY_STEPS * STEP_MS // 1000,
            "recommendations": sum(n for (kind, of, _), n in grew.items() if kind == "answer" and of in ASKED),
            "points": [one.point() for one in steps if one.number * STEP_MS >= since_ms],
            "stages": stages(grew),
            "degraded": {of: n for (kind, of, _), n in sorted(grew.items()) if kind == "degraded"},
            "stale": grew["stale", "", ""],
            "fresh": {"clicks_behind": behind, "lag_ms": _lag_ms(behind, clicks_s)},
            "hour": _hour(app[HOUR_FIGURES].recommended()),
        }
    )


def _lag_ms(behind: int | None, clicks_s: float) -> float | None:
    """Return how long a click waits (Little's law): what waits over what comes in a second."""
    if behind is None:
        return None
    return 0.0 if not behind else round(1000 * behind / clicks_s, 1) if clicks_s else None


def _hour(counts: dict[str, float]) -> dict[str, Any]:
    shown, clicks = counts.get("shown"), counts.get("clicks")
    return {"shown": shown, "clicks": clicks, "click_rate": (clicks or 0) / shown if shown else None}
