"""GET /api/quality: what is wrong with the data that comes in, and what to do. Gauges show the same on `/metrics`.

Looked at when somebody asks or scrapes, at most every 30 s; where the quality flow is off, `/metrics` does not look.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric
from pydantic import BaseModel, ConfigDict, Field

from contracts.errors import NextclickError, StateUnavailable
from gateway.keys import APPENDS, CATALOGUE, CLOCK, LAG, RECOMMENDER, SETTINGS
from gateway.metrics import PREFIX
from gateway.problems import unavailable
from gateway.wire import json_response, validated
from quality.bots import MINUTE_MS
from quality.catalogue import CatalogueFigures, lacks, strange_prices
from quality.checks import SEVERITY, Check, Seen, hours_before, judge, worst
from quality.series import Series
from retrieval.catalogue import CatalogueColumns
from state.quality import read_quality

EVERY_S: Final = 30.0
MOST_DOCUMENTS: Final = 2_000
"""Items whose fields are looked at, spread over the catalogue."""
MOST_PRICES: Final = 50_000
_SLICE: Final = 100
_WAITED_S: Final = 0.5
FLOW: Final = "quality"


class QualityQuery(BaseModel):
    """Nothing can be asked."""

    model_config = ConfigDict(extra="forbid")


class QualityCheck(BaseModel):
    """One check. `figure` is null where there is none."""

    name: str
    of: str = Field(description="What it looked at, where it looks at several things: a type of events.")
    state: str = Field(description="ok, warn, bad or not enough data.")
    figure: float | None
    threshold: float = Field(description="What makes it bad: above for shares, below for `silent`.")
    says: str = Field(description="What to do.")


class FeatureDrift(BaseModel):
    """How far one feature of the re-ranker, or its `score`, moved since training."""

    name: str
    psi: float = Field(description="Population stability index: below 0.1 nothing moved, above 0.25 it did.")
    ks: float = Field(description="Kolmogorov-Smirnov distance, 0 to 1.")


class QualityAnswer(BaseModel):
    """All checks, the worst of their states, and the drift that the process that answers saw."""

    state: str
    at_ms: int = Field(description="When it was looked at, epoch milliseconds.")
    running: bool = Field(description="Whether this process was told that the quality flow runs (`quality.run`).")
    bots: int = Field(description="Sessions that no human has, lately.")
    checks: list[QualityCheck]
    drift: list[FeatureDrift] = Field(description="Nothing below 100 pages.")
    drift_pages: int | None = Field(
        description="Pages that were compared; null where none are: no re-ranker, one that knows not what it learnt "
        "from, or `gateway.drift_every` 0."
    )


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at a moment."""

    checks: list[Check]
    bots: int
    at_ms: int


class Quality:
    """Belongs to the event loop of its process."""

    def __init__(self) -> None:
        self._look: Look | None = None
        self._looked_s = -EVERY_S
        self._looking: asyncio.Task[Look] | None = None
        self._newest: dict[int, int] = {}
        """The newest click of each partition that this process had appended at the look before."""

    async def look(self, app: web.Application) -> Look:
        """Return what was seen 30 s ago at most. Raises StateUnavailable."""
        if self._look is not None and time.monotonic() - self._looked_s < EVERY_S:
            return self._look
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._see(app))
            self._looking.add_done_callback(_taken_note_of)
        return await asyncio.shield(self._looking)

    async def refresh(self, app: web.Application) -> None:
        """Look for a scrape, where the flow runs: it waits half a second at most, and shows what was seen last."""
        if not app[SETTINGS].quality.run:
            return
        try:
            async with asyncio.timeout(_WAITED_S):
                await self.look(app)
        except (TimeoutError, NextclickError):
            if time.monotonic() - self._looked_s > 10 * EVERY_S:
                self._look = None

    def collect(self) -> Iterator[Metric]:
        """Yield gauges: nothing before the first look."""
        if self._look is None:
            return
        about = "How a check of the data came out: -1 not enough data, 0 ok, 1 warn, 2 bad."
        state = GaugeMetricFamily(PREFIX + "quality_state", about, labels=["check", "of"])
        figure = GaugeMetricFamily(PREFIX + "quality_figure", "The check's figure, a share.", labels=["check", "of"])
        for check in self._look.checks:
            state.add_metric([check.name, check.of], SEVERITY[check.state])
            if check.figure is not None:
                figure.add_metric([check.name, check.of], check.figure)
        yield from (state, figure)
        yield GaugeMetricFamily(PREFIX + "quality_bots", "Sessions that no human has, lately.", value=self._look.bots)

    async def _see(self, app: web.Application) -> Look:
        settings, now_ms = app[SETTINGS], app[CLOCK]()
        options, minute = settings.quality, now_ms // MINUTE_MS
        behind = await app[LAG].unread(FLOW, self._newest)
        self._newest = dict(app[APPENDS].newest_click)
        since_ms = now_ms - options.bots_keep_ms
        cells, bots = await asyncio.to_thread(read_quality, settings.redis, hours_before(minute), since_ms)
        catalogue = await figures_of_columns(app[CATALOGUE])
        seen = Seen(Series(cells), minute, catalogue, behind)
        self._look, self._looked_s = Look(judge(seen, options), bots, now_ms), time.monotonic()
        return self._look


QUALITY: Final = web.AppKey("quality", Quality)


def _taken_note_of(looked: asyncio.Task[Look]) -> None:
    """Whoever waited for it may be gone."""
    if not looked.cancelled():
        looked.exception()


async def get_quality(request: web.Request) -> web.Response:
    """Show what all checks say."""
    validated(dict(request.query), QualityQuery)
    try:
        found = await request.app[QUALITY].look(request.app)
    except StateUnavailable as error:
        raise unavailable("Redis does not answer: ask again") from error
    drift = request.app[RECOMMENDER].ranking.drift
    answer = QualityAnswer(
        state=str(worst(found.checks)),
        at_ms=found.at_ms,
        running=request.app[SETTINGS].quality.run,
        bots=found.bots,
        checks=[_shown(check) for check in found.checks],
        drift=[FeatureDrift(**one._asdict()) for one in drift.drifts()],
        drift_pages=drift.pages if drift.counts else None,
    )
    return json_response(answer.model_dump())


def _shown(check: Check) -> QualityCheck:
    return QualityCheck(
        name=check.name,
        of=check.of,
        state=str(check.state),
        figure=check.figure,
        threshold=check.threshold,
        says=check.says,
    )


async def figures_of_columns(columns: CatalogueColumns) -> CatalogueFigures:
    """Return the figures of a catalogue: of all of a small one, of items spread over a large one. Lets others have
    their turn.
    """
    alive = np.flatnonzero(columns.alive[: columns.count])
    rows, lacking, looked_at = spread(alive, MOST_DOCUMENTS).tolist(), Counter[str](), 0
    priced = spread(alive, MOST_PRICES)
    prices, categories = columns.price[priced], columns.category[priced]
    given = ~np.isnan(prices)
    for at in range(0, len(rows), _SLICE):
        if rows[at : at + _SLICE][-1] >= columns.count:  # another snapshot took its place
            break
        for row in rows[at : at + _SLICE]:
            lacking.update(lacks(columns.item_ids[row], columns.documents[row]))
            looked_at += 1
        await asyncio.sleep(0)
    strange = await asyncio.to_thread(strange_prices, prices[given], categories[given])
    return CatalogueFigures(len(alive), looked_at, lacking, int(given.sum()), strange)


def spread(rows: np.typing.NDArray[np.int64], most: int) -> np.typing.NDArray[np.int64]:
    """Return at most so many of rows (n,), evenly spread."""
    if len(rows) <= most:
        return rows
    picked: np.typing.NDArray[np.int64] = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    return picked
