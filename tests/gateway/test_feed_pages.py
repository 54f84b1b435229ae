"""GET /api/feeds: what whoever pulls feeds told of them, and the same as figures."""

from __future__ import annotations

from contracts.feed_status import FeedFault, FeedPull, FeedsStatus, FeedStatus
from contracts.keys import Keys
from contracts.settings import RedisSettings
from state.client import connect
from state.feed_status import FeedStatusStore
from tests.gateway.conftest import Start

NOW_MS = 1_800_000_000_000
HELD = FeedPull(began_ms=NOW_MS - 9000, ended_ms=NOW_MS - 8000, outcome="held", why="lost 9 of 10", found=1)
SHOP = FeedStatus(
    **{"name": "shop", "source": "https://***@shop.example/feed", "format": "csv", "every_s": 3600.0},
    **{"next_ms": NOW_MS + 60_000, "running": False, "well_ms": NOW_MS - 3_600_000, "pulls": (HELD,)},
    faults=(FeedFault(line=3, item_id="7", left_out=True, reason="no title"),),
)


def tell(redis: RedisSettings, status: FeedsStatus) -> None:
    store = FeedStatusStore(redis)
    store.write(status)
    store.close()


async def test_feeds_are_shown_as_they_were_told_last(start: Start, redis_settings: RedisSettings) -> None:
    now_ms = [NOW_MS]
    client = await start(clock=lambda: now_ms[0])
    none = await (await client.get("/api/feeds")).json()
    assert none == {"at_ms": NOW_MS, "told_ms": None, "pulled": False, "feeds": []}
    tell(redis_settings, FeedsStatus(at_ms=NOW_MS - 1000, feeds=(SHOP,)))
    told = await (await client.get("/api/feeds")).json()
    assert (told["told_ms"], told["pulled"]) == (NOW_MS - 1000, True)
    [feed] = told["feeds"]
    assert (feed["name"], feed["pulls"][0]["outcome"]) == ("shop", "held")
    assert feed["faults"] == [{"line": 3, "page": 1, "item_id": "7", "left_out": True, "reason": "no title"}]
    now_ms[0] += 180_000
    assert (await (await client.get("/api/feeds")).json())["pulled"] is False


async def test_feeds_have_figures_that_alerts_stand_on(start: Start, redis_settings: RedisSettings) -> None:
    tell(redis_settings, FeedsStatus(at_ms=NOW_MS, feeds=(SHOP,)))
    shown = await (await (await start()).get("/metrics")).text()
    assert 'nextclick_gateway_feed_held{feed="shop"} 1.0' in shown
    assert 'nextclick_gateway_feed_every_seconds{feed="shop"} 3600.0' in shown
    assert 'nextclick_gateway_feed_success_timestamp_seconds{feed="shop"} 1.7999964e+09' in shown


async def test_what_is_no_status_is_taken_for_none(start: Start, redis_settings: RedisSettings) -> None:
    client, key = connect(redis_settings), Keys(redis_settings.prefix).feeds()
    gateway = await start()
    for set_it in (lambda: client.set(key, b"{"), lambda: (client.delete(key), client.rpush(key, b"x"))):
        set_it()
        assert (await (await gateway.get("/api/feeds")).json())["told_ms"] is None
    client.close()
