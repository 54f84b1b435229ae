"""Flows tell how far they read and what they lost; gateways see it, and whether Redis takes writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from contracts.errors import StateUnavailable
from contracts.settings import RedisSettings
from state.embedded import EmbeddedRedis
from state.read_progress import ReadProgress, StateWatch

pytestmark = pytest.mark.usefixtures("redis_family")


@pytest.fixture(scope="module")
def server(redis_family: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("progress")) as started:
        yield started


async def test_what_flows_tell_is_seen(redis_settings: RedisSettings) -> None:
    watch = StateWatch(redis_settings, within_s=60)
    assert await watch.told() == ({}, {})
    with closing(ReadProgress(redis_settings, "trends", "clicks")) as trends:
        trends.tell({0: 5, 1: 7}, lost=3)
        trends.tell({1: 9}, lost=4)
        trends.tell({})
    told = await watch.told()
    assert told.reached == {("trends", "clicks", 0): 5, ("trends", "clicks", 1): 9}
    assert told.lost == {("trends", "clicks"): 7}
    await watch.close()


async def test_what_redis_does_not_take_is_told_later_and_once(server: EmbeddedRedis) -> None:
    settings = RedisSettings(url=server.url, timeout_ms=60_000)
    watch = StateWatch(settings, within_s=60)
    assert (await watch.look()).refuses is None
    with closing(ReadProgress(settings, "trends", "clicks")) as trends, redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", "1")
        why = (await watch.look()).refuses
        assert why == "OOM: it is at its maxmemory: raise that, or take something out of it"
        trends.tell({0: 5}, lost=3)
        client.config_set("maxmemory", "0")
        assert (await watch.look()).refuses is None
        assert await watch.told() == ({}, {})
        trends.tell({0: 6})
        assert await watch.told() == ({("trends", "clicks", 0): 6}, {("trends", "clicks"): 3})
        assert client.keys("*probe*") == []
    await watch.close()


async def test_a_redis_that_is_away_refuses_nothing_and_is_said_to_be_away() -> None:
    watch = StateWatch(RedisSettings(url="redis://127.0.0.1:1/0"), within_s=1)
    with pytest.raises(StateUnavailable):
        await watch.look()
    await watch.close()
