"""GET /api/kpi: what was shown, and what came of it, by whatever figures are told apart by."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from attribution.cells import HOUR_MS, cells_of
from attribution.figures import DEFAULT_BY, expect_asked, figures, hour_of, table, words_of
from contracts.errors import SettingsError, StateUnavailable
from contracts.settings import ServiceSettings
from gateway.keys import CLOCK, SETTINGS
from gateway.one_at_a_time import alone
from gateway.problems import FieldProblem, Refused, out_of_range, unavailable
from gateway.wire import json_response, validated
from state.attribution import TooManyCells, read_ledger

MOST_HOURS = 24 * 92
"""Hours that one request reads."""
MOST_ROWS = 10_000
MOST_CELLS = 200_000
"""That one request reads: Redis answers nobody else meanwhile."""
DEFAULT_HOURS = 24 * 7
COUNTING = web.AppKey("reading figures", asyncio.Semaphore)
"""Held by whoever reads them: one request at a time, so that reading cannot take the process from the others."""


class KpiQuery(BaseModel):
    """Which figures to show."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    by: str = Field(default=",".join(DEFAULT_BY), max_length=300)
    since: str = Field(default="", alias="from", max_length=40)
    to: str = Field(default="", max_length=40)
    metric: str = Field(default="", max_length=500)


class KpiRow(BaseModel):
    """One row: its place among the dimensions asked for, and its figures; null where there is nothing to divide by."""

    of: dict[str, str]
    figures: dict[str, float | None]


class KpiAnswer(BaseModel):
    """Figures, and what they stand on: the next offset of each partition of both topics (`topic:partition`)."""

    from_ms: int = Field(description="Begin of the first hour, epoch milliseconds.")
    to_ms: int = Field(description="End of the last hour.")
    rows: list[KpiRow]
    offsets: dict[str, int]
    facts: dict[str, int] = Field(description="What became of events so far: taken, repeated, late, left_out.")


async def get_kpi(request: web.Request) -> web.Response:
    """Show figures of some hours."""
    query, app = validated(dict(request.query), KpiQuery), request.app
    by, metrics = words_of(query.by), words_of(query.metric)
    now_hour = app[CLOCK]() // HOUR_MS
    for where, ask in (("by", (by, [])), ("metric", ([], metrics))):
        try:
            expect_asked(*ask)
        except SettingsError as error:
            raise _refused(where, str(error)) from error
    last = _hour("to", query.to, now_hour)
    first = _hour("from", query.since, last - DEFAULT_HOURS + 1)
    if not 0 <= last - first < MOST_HOURS:
        raise _refused("from", f"expected `from` up to {MOST_HOURS} hours before `to`, got {last - first + 1} hours")
    async with alone(app[COUNTING], "reads figures"):
        try:
            answer = await asyncio.to_thread(_answer, app[SETTINGS], by, metrics, first, last)
        except StateUnavailable as error:
            raise unavailable("Redis does not answer: ask again") from error
        except TooManyCells as error:
            raise _refused("from", str(error)) from error
    if len(answer["rows"]) > MOST_ROWS:
        raise _refused("by", f"expected at most {MOST_ROWS} rows, got {len(answer['rows'])}: ask for fewer dimensions")
    return json_response(answer)


def _answer(settings: ServiceSettings, by: list[str], metrics: list[str], first: int, last: int) -> dict[str, Any]:
    ledger = read_ledger(settings.redis, first, last, most=MOST_CELLS)
    rows = table(cells_of(ledger.cells).items(), by)
    return {
        "from_ms": first * HOUR_MS,
        "to_ms": (last + 1) * HOUR_MS,
        "rows": [
            {"of": dict(zip(by, row, strict=True)), "figures": figures(counts, metrics)} for row, counts in rows.items()
        ],
        "offsets": dict(ledger.offsets),
        "facts": dict(ledger.facts),
    }


def _hour(where: str, text: str, otherwise: int) -> int:
    if not text:
        return otherwise
    try:
        return hour_of(text)
    except (SettingsError, OverflowError) as error:
        raise _refused(where, str(error)) from error


def _refused(where: str, detail: str) -> Refused:
    return out_of_range(f"/{where}: {detail}", [FieldProblem(pointer=f"/{where}", detail=detail)])
