"""GET /api/dead-letters shows what could not be taken, to the machine itself and to nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter
from eventlog.open_log import open_dead_letters, open_writer
from gateway.own_machine import expect_own_machine
from gateway.problems import Refused
from tests.gateway.conftest import LOG, Client, Start, event, problem


def keep(redis_settings: RedisSettings, *letters: DeadLetter) -> None:
    writer = open_writer(LOG, redis_settings)
    writer.dead_letter(letters)
    writer.close()


async def shown(client: Client, query: str = "") -> list[dict[str, Any]]:
    response = await client.get(f"/api/dead-letters{query}")
    assert response.status == 200, await response.text()
    letters: list[dict[str, Any]] = (await response.json())["letters"]
    return letters


async def test_letters_are_shown_newest_first_with_the_beginning_of_their_record(
    client: Client, redis_settings: RedisSettings
) -> None:
    keep(
        redis_settings,
        DeadLetter("clicks:1:7", 1, "not_json", "expected an object", 1000, b"\xff{"),
        DeadLetter("gateway", 3, "invalid", "no item", 2000, b"x" * 5000),
    )
    newest, oldest = await shown(client)
    assert oldest == {
        "id": "p1:0",
        "source": "clicks:1:7",
        "partition": 1,
        "reason": "not_json",
        "detail": "expected an object",
        "at_ms": 1000,
        "bytes": 2,
        "record": "\ufffd{",
    }
    assert (newest["id"], newest["bytes"], newest["record"]) == ("p3:0", 5000, "x" * 2000)


@pytest.mark.kafka
async def test_letters_of_a_kafka_log_are_shown_too(start: Start, kafka_log_settings: LogSettings) -> None:
    client = await start(log=kafka_log_settings)
    await client.post("/api/events", json=[{"v": 2, "session_id": "s"}])
    async with asyncio.timeout(60):
        while not (letters := await shown(client)):  # noqa: ASYNC110 (written in the background)
            await asyncio.sleep(0.1)
    [letter] = letters
    assert (letter["source"], letter["reason"]) == ("gateway", "unknown_version")
    assert letter["record"] == '{"v":2,"session_id":"s"}'


async def test_letters_are_chosen_by_reason_partition_and_time(client: Client, redis_settings: RedisSettings) -> None:
    letters = [("late", 1, 1000), ("late", 2, 2000), ("invalid", 1, 3000), ("not_json", 1, 4000)]
    keep(redis_settings, *(DeadLetter("gateway", p, reason, "", at, b"") for reason, p, at in letters))

    async def times(query: str) -> list[int]:
        return [letter["at_ms"] for letter in await shown(client, query)]

    assert await times("?reason=late") == [2000, 1000]
    assert await times("?reason=late,invalid&partition=1") == [3000, 1000]
    assert await times("?since_ms=2000&until_ms=4000") == [3000, 2000]
    assert await times("?limit=1") == [4000]


@pytest.mark.parametrize("query", ["?limit=0", "?limit=many", "?partition=4", "?partition=-1", "?colour=red"])
async def test_a_query_that_cannot_be_meant_is_refused(client: Client, query: str) -> None:
    assert (await client.get(f"/api/dead-letters{query}")).status == 422


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"X-Forwarded-For": "127.0.0.1"}, "its header X-Forwarded-For says"),
        ({"Forwarded": "for=127.0.0.1"}, "its header Forwarded says"),
        ({"X-Real-IP": "127.0.0.1"}, "its header X-Real-IP says"),
        ({"Via": "1.1 proxy"}, "its header Via says"),
        ({"Host": "shop.example"}, "the request names the host 'shop.example'"),
        ({"Host": "127.0.0.1.example:8080"}, "the request names the host"),
        ({"Origin": "http://localhost:3000"}, "a web page asked"),
        ({"Sec-Fetch-Site": "cross-site"}, "a web page asked"),
    ],
)
async def test_others_than_the_machine_itself_are_refused(client: Client, headers: dict[str, str], said: str) -> None:
    answer = await problem(await client.get("/api/dead-letters", headers=headers), 403)
    assert said in answer["detail"]
    assert "ask there, or use `nextclick dead-letters`" in answer["detail"]


@pytest.mark.parametrize(
    ("remote", "host", "taken"),
    [
        ("127.0.0.1", "localhost:8080", True),
        ("127.0.0.2", "127.0.0.1:8080", True),
        ("::1", "[::1]:8080", True),
        ("::ffff:127.0.0.1", "localhost", True),
        ("10.0.0.7", "localhost:8080", False),
        ("::ffff:10.0.0.7", "localhost", False),
        ("fe80::1%eth0", "localhost", False),
        ("", "localhost", False),
    ],
)
def test_a_loopback_address_is_the_machine_itself(remote: str, host: str, taken: bool) -> None:
    request = make_mocked_request("GET", "/api/dead-letters", headers={"Host": host}).clone(remote=remote)
    if taken:
        expect_own_machine(request)
    else:
        with pytest.raises(Refused, match="own machine") as refused:
            expect_own_machine(request)
        assert refused.value.status == 403


async def test_metrics_count_the_letters_that_this_process_wrote_by_reason(
    client: Client, redis_settings: RedisSettings
) -> None:
    await client.post("/api/events", json=[event("e-1"), {"v": 2}, {"v": 3}, "click"])
    letters = open_dead_letters(LOG, redis_settings)
    async with asyncio.timeout(60):
        while letters.count() < 3:  # noqa: ASYNC110 (written in the background)
            await asyncio.sleep(0.02)
        while "dead_letters_total{" not in (text := await (await client.get("/metrics")).text()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    letters.close()
    assert 'nextclick_gateway_dead_letters_total{reason="unknown_version"} 2.0' in text
    assert 'nextclick_gateway_dead_letters_total{reason="not_an_object"} 1.0' in text
