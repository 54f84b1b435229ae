from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from aiohttp import web

from nextclick.bench.freshness import freshness_rows
from replay.measure.freshness import Freshness, FreshnessOptions, measure_freshness
from tests.replay.target_server import Arrivals, target_server

ITEMS = [f"i{n}" for n in range(50)]


class Shop:
    """A recommender that sees a click `delay_s` after it was taken; a token waits for it, up to `deadline_s`."""

    def __init__(self, delay_s: float, deadline_s: float = 1.0) -> None:
        self.visible: Counter[str] = Counter()
        self.arrivals = Arrivals(before=self._take)
        self._delay_s, self._deadline_s = delay_s, deadline_s
        self.asks: list[dict[str, Any]] = []

    async def _take(self, request: web.Request, batch: list[dict[str, Any]]) -> None:
        for event in batch:
            asyncio.get_running_loop().call_later(self._delay_s, self.visible.update, [event["session_id"]])

    async def recommend(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.asks.append(asked)
        if "after" in asked:
            await asyncio.sleep(min(self._delay_s, self._deadline_s))
        events = self.visible[asked["session_id"]]
        fields = {"recommendations": [], "model_version": "m", "degraded": [], "timings_us": {}}
        return {**fields, "session": {"events": events, "age_ms": 0}, "stale": self._deadline_s < self._delay_s}


async def measured(shop: Shop, **more: Any) -> Freshness:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(await shop.recommend(await request.json()))

    shop.arrivals.post_recommendations = answer  # type: ignore[method-assign]
    async with target_server(shop.arrivals) as (_, url):
        asked = {
            "url": url,
            "rate": 200.0,
            "seconds": 2.0,
            "share": 0.1,
            "warm_up_s": 0.5,
            "pause_s": 0.5,
            "give_up_s": 60.0,
        }
        asked |= more
        return await measure_freshness(FreshnessOptions(**asked), ITEMS, run="t", start_ms=1_700_000_000_000)


async def test_click_to_visible_counts_from_sending_to_the_answer_that_counts_the_click() -> None:
    shop = Shop(delay_s=0.08)
    result = await measured(shop)
    assert (result.clicks, result.accepted, result.never) == (400, 400, 0)
    assert result.by_token.count == 30  # a tenth of the 300 clicks after the warm-up
    assert result.by_polling.count == 30
    assert result.by_token.p50 >= 80
    assert result.by_polling.p50 >= 80
    assert result.by_token_intended.p50 >= result.by_token.p50


async def test_half_of_the_watched_clicks_ask_without_a_token() -> None:
    shop = Shop(delay_s=0.0)
    await measured(shop)
    assert any("after" in ask for ask in shop.asks)
    assert any("after" not in ask for ask in shop.asks)


async def test_visitors_click_several_items_each_and_every_click_of_a_visit_is_watched() -> None:
    shop = Shop(delay_s=0.0)
    await measured(shop, seconds=4.0, clicks=3)
    visits = Counter(event["session_id"] for event in shop.arrivals.events)
    assert max(visits.values()) == 3
    assert len({event["item_id"] for event in shop.arrivals.events}) > 10


async def test_a_click_that_is_never_seen_is_counted() -> None:
    result = await measured(Shop(delay_s=60.0, deadline_s=0.05), give_up_s=0.3)
    assert 0 < result.never <= 60  # a crowded machine sends some of them late
    assert result.by_polling.count == 0
    assert result.by_token.count == 0
    assert result.stale > 0


async def test_the_figures_become_benchmark_rows() -> None:
    result = await measured(Shop(delay_s=0.02))
    rows = {row.name: row for row in freshness_rows(result)}
    visible = rows["click to visible, with token, p99"]
    assert (visible.value, visible.target) == (result.by_token.p99, 100.0)
    assert visible.met == (visible.value <= 100.0)
    assert rows["clicks never seen"].value == 0.0
    assert rows["clicks accepted"].unit == "1/s"
