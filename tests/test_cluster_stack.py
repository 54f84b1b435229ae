"""A whole stack on a Redis Cluster of six."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from contracts.settings import IndexSettings, LogSettings, RedisSettings
from nextclick.stack.client import Client, GatewayRefused
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack
from tests.gateway.conftest import event
from tests.redis_cluster import Cluster, running_cluster
from tests.whole_answers import whole_answer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="module")
def stack(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    redis = RedisSettings(url=cluster.url, kind="cluster", nodes=cluster.places, timeout_ms=2000)
    options = StackOptions(port=0, folder=tmp_path_factory.mktemp("stack"), embedded_redis=False)
    index = IndexSettings(builder=True, min_items=1)
    log = LogSettings(partitions=4)
    settings = StackSettings(stack=options, redis=redis, log=log, index=index, artifacts=str(ARTIFACTS))
    with Stack(settings) as made:
        yield made


def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def logs_of(stack: Stack) -> str:
    return "".join(path.read_text() for path in (stack.folder / "logs").glob("*.log"))


def test_clicks_are_taken_by_every_partition_and_answered_with_what_they_changed(
    stack: Stack, cluster: Cluster
) -> None:
    with Client(stack.url) as client:
        items = [b'{"item_id":"i-%d","title":"Trail boot %d","category":"shoes"}' % (n, n) for n in range(20)]
        assert client.put_items(items) == {"accepted": 20, "rejected": [], "visible": True}
        for visitor in range(12):
            clicks = [event(f"e-{visitor}-{n}", f"s-{visitor}", f"i-{n}") for n in range(3)]
            token = client.send_events(clicks)["token"]
            answer = client.recommend("homepage", f"s-{visitor}", after=token, limit=5)
            assert (answer["session"]["events"], len(answer["recommendations"])) == (3, 5)
            assert answer["degraded"] == []
    held = [node.client.dbsize() for node in cluster.nodes[:3]]
    assert all(count > 0 for count in held), held
    assert "Traceback" not in logs_of(stack)


def test_a_primary_that_dies_is_followed_by_its_replica_and_the_stack_goes_on(stack: Stack, cluster: Cluster) -> None:
    victim = cluster.owner_of("nc:{p0}:progress")
    with Client(stack.url) as client:
        victim.kill()
        number = iter(range(1_000_000))
        until(lambda: all(_taken(client, f"f-{next(number)}") for _ in range(12)))
        token = client.send_events([event("last", "f-last", "i-1")])["token"]
        assert whole_answer(client, "f-last", token)["session"]["events"] == 1
    victim.start()
    cluster.wait_until_whole()
    assert "Traceback" not in logs_of(stack)


def _taken(client: Client, session_id: str) -> bool:
    with suppress(GatewayRefused):
        client.send_events([event(f"e-{session_id}", session_id, "i-1")])
        return True
    return False
