"""The last release and this one on one state, under traffic: up by a rolling restart, down by blue and green."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from contracts.settings import LogSettings, RedisSettings, ServiceSettings
from gateway.listeners import listening
from nextclick.stack.client import Client
from replay.synthetic.shoppers import default_shop
from state.ports import free_port
from tests.receiver import Receiver, receiving
from tests.releases.last import ROWS, asked, code_of, kept
from tests.releases.promised import (
    expect_all_known,
    expect_one_variant_each,
    expect_the_log,
    expect_told,
    expect_watched,
    stock_of,
    told,
)
from tests.releases.rows import read, written
from tests.releases.sides import Side, flows_change, ready, settings_of, sides, until, webhooks_to
from tests.releases.traffic import WATCHED, Traffic
from tests.test_end_to_end import line

FLOWS: Final = ("sessions", "items", "profiles", "trends", "attribution", "quality")
OF_KAFKA: Final = ("sessions", "attribution")
"""Flows that change releases where Kafka is the log: of two topics. Others read it as these do."""
ITEMS: Final = 200
NAME: Final = "margin-first"
EXPERIMENT: Final = {
    "scenario": "homepage",
    "variants": [
        {"name": "control", "share": 0.5},
        {"name": "margin", "share": 0.5, "patch": {"value": {"match": 1, "margin": 0.1}}},
    ],
    "metric": "clicks/pages",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the last release; skips where the history does not have it."""
    commit, folder = kept()["commit"], tmp_path_factory.mktemp("last")
    if not code_of(commit, folder):
        pytest.skip(f"the history here does not have the last release ({commit}): fetch all of it")
    found = asked(folder, "-c", "import contracts.codec, json; print(json.dumps(contracts.codec.__file__))")
    assert Path(found).is_relative_to(folder), "expected the last release to run its own code"
    return folder


def test_the_last_release_reads_what_this_one_writes_and_this_one_what_it_writes(last: Path) -> None:
    rows = written()
    assert asked(last, str(ROWS), "read", given=rows) == read(rows)
    theirs = asked(last, str(ROWS), "write")
    assert read(theirs) == asked(last, str(ROWS), "read", given=theirs)


async def begun(flows: tuple[str, ...], old: Side, port: int) -> Traffic:
    """Start the last release with a small shop and an experiment, and return traffic that may run."""
    for name in flows:
        old.start_flow(name)
    old.start("gateway", "gateway", port=port)
    await ready(port, old)
    shop = default_shop().items[:ITEMS]
    await asyncio.to_thread(load, port, [line(*one) for one in shop])
    await asyncio.to_thread(publish, port, 1)
    return Traffic(port, [item_id for item_id, _ in shop])


@contextmanager
def refusing(receiver: Receiver | None) -> Iterator[None]:
    """Let the shop's server take no calls for a while: they wait, and whoever is there then delivers them."""
    if receiver is None:
        yield
    else:
        receiver.answer("503")
        yield
        receiver.answer("200")


async def upgraded(
    flows: tuple[str, ...], old: Side, new: Side, traffic: Traffic, receiver: Receiver | None = None
) -> None:
    """Up: a rolling restart on one port, gateways first. Both answer while flows change."""
    new.start("gateway", "gateway", port=traffic.port)
    await until(lambda: listening(traffic.port) == 2, "both releases listen")
    await traffic.more(20)
    await flows_change(flows, old, new, traffic)
    with refusing(receiver):
        await traffic.more(20)
        await old.stop("gateway")
    await traffic.more(20)


async def downgraded(
    flows: tuple[str, ...], old: Side, new: Side, traffic: Traffic, receiver: Receiver | None = None
) -> None:
    """Down: green stands beside blue, and the balancer turns."""
    green = free_port()
    old.start("gateway", "gateway", port=green)
    await ready(green, old)
    await flows_change(flows, new, old, traffic)
    traffic.port = green
    with refusing(receiver):
        await traffic.more(20)
        await new.stop("gateway")
    await traffic.more(20)


def load(port: int, lines: list[bytes]) -> None:
    with Client(f"http://127.0.0.1:{port}", timeout_s=120) as client:
        assert client.put_items(lines)["visible"] is True


def publish(port: int, expected_version: int) -> None:
    with Client(f"http://127.0.0.1:{port}", timeout_s=120) as client:
        assert client.put_experiment(NAME, EXPERIMENT)["version"] == expected_version


def version(port: int) -> int:
    with Client(f"http://127.0.0.1:{port}") as client:
        return int(client.experiment(NAME)["version"])


async def expect_kept(
    settings: ServiceSettings, traffic: Traffic, before: Counter[str], flows: tuple[str, ...] = FLOWS
) -> None:
    """Expect no request to have failed, and all that was acknowledged to be there, once."""
    await traffic.view_again()
    done = f"{dict(traffic.outcomes)}, {dict(traffic.kinds)}, {len(traffic.owed)} calls owed"
    sys.stderr.write(f"{traffic.steps} steps: {done}\n")
    assert traffic.failed == {}
    assert traffic.forgot == []
    assert all(traffic.clicks[f"s-{n}"] > before[f"s-{n}"] > 0 for n in range(12))
    await expect_the_log(settings, traffic, NAME, profiles="profiles" in flows)
    expect_one_variant_each(traffic, {"control", "margin"})
    assert stock_of(settings.redis, traffic) == traffic.put
    await asyncio.to_thread(expect_all_known, traffic.port, traffic)


@pytest.mark.timeout(1200)
async def test_up_and_down_again_under_traffic_no_request_fails_and_no_event_is_lost(
    last: Path, redis_settings: RedisSettings, tmp_path: Path
) -> None:
    settings = settings_of(redis_settings, LogSettings(partitions=4))
    with receiving(free_port(), tmp_path / "receiver") as receiver:
        more = {**webhooks_to(receiver), "NEXTCLICK_QUALITY__RUN": "true", "NEXTCLICK_QUALITY__BOT_RATE": "100000"}
        with sides(last, redis_settings, settings.log, more) as (old, new):
            traffic = await begun(FLOWS, old, free_port())
            await traffic.wait_for_items()
            running = asyncio.create_task(traffic.run())
            await until(lambda: set(WATCHED) <= {item_id for item_id, _ in told(receiver)}, "users wait for items")
            traffic.owed &= told(receiver).keys()  # before, nobody was known to wait
            await traffic.more(20)

            await upgraded(FLOWS, old, new, traffic, receiver)
            before = +traffic.clicks
            await asyncio.to_thread(publish, traffic.port, 2)
            await downgraded(FLOWS, old, new, traffic, receiver)
            traffic.stop()
            await running

            await expect_kept(settings, traffic, before)
            await expect_watched(settings, traffic)
            await expect_told(settings, traffic, receiver)
            assert await asyncio.to_thread(version, traffic.port) == 2


@pytest.mark.kafka
@pytest.mark.timeout(1200)
async def test_up_and_down_again_with_kafka_as_the_log_no_request_fails_and_no_event_is_lost(
    last: Path, redis_settings: RedisSettings, kafka_log_settings: LogSettings
) -> None:
    settings = settings_of(redis_settings, kafka_log_settings)
    with sides(last, redis_settings, kafka_log_settings) as (old, new):
        traffic = await begun((*OF_KAFKA, "items"), old, free_port())
        running = asyncio.create_task(traffic.run())
        await traffic.more(10)
        await upgraded(OF_KAFKA, old, new, traffic)
        before = +traffic.clicks
        await downgraded((), old, new, traffic)  # gateways alone: what flows keep is in Redis, as above
        traffic.stop()
        await running
        await expect_kept(settings, traffic, before, OF_KAFKA)
