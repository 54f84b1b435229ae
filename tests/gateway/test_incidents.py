"""What clients see of errors that are not theirs: a short reason and an id. The log has the rest, once."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from contracts.settings import RedisSettings
from gateway.incidents import Incidents
from state.embedded import EmbeddedRedis
from tests.gateway.conftest import Client, Start, event, problem
from tests.gateway.test_items import NDJSON, SHOE


async def test_a_503_tells_its_id_and_the_log_tells_the_rest_once(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.problems._incidents", Incidents())  # tests before this one met the same outage
    with EmbeddedRedis(tmp_path) as server:
        client = await start(redis=RedisSettings(url=server.url, timeout_ms=60_000))
        server.kill()
        answers = [
            await client.post("/api/events", json=event("e-1")),
            await client.put("/api/items/shoe-1", json=SHOE),
            await client.delete("/api/items/shoe-1"),
            await client.post("/api/stock", json=[{"item_id": "shoe-1", "stock": 0}]),
            await client.post("/api/items", data=orjson.dumps({"item_id": "shoe-1", **SHOE}), headers=NDJSON),
        ]
        documents = [await problem(answer, 503) for answer in answers]
        await client.close()
    port = server.url.rpartition(":")[2].strip("/")
    for document in documents:
        assert document["detail"] == (
            f"the event log takes nothing now: send it again (the gateway's log has more under {document['id']})"
        )
        assert port not in orjson.dumps(document).decode().replace(document["id"], "")
        assert caplog.text.count(f"answering 503, id {document['id']}: could not append to ") == 1
    assert len({document["id"] for document in documents}) <= 4


async def test_an_unforeseen_error_tells_its_id(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("gateway.browse._spread")
    document = await problem(await client.get("/api/items"), 500)
    assert document["detail"].endswith(f"(its log has more under {document['id']})")
    assert f"unforeseen error in GET /api/items, id {document['id']}" in caplog.text


def test_an_error_keeps_its_name_for_a_minute_and_numbers_make_no_difference(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    incidents = Incidents(lambda: now[0])
    first = incidents.name_of(ValueError("port 1: gone"))
    now[0] = 59.0
    assert incidents.name_of(ValueError("port 2: gone")) == first
    assert incidents.name_of(ValueError("another")) != first
    now[0] = 60.0
    second = incidents.name_of(ValueError("port 3: gone"))
    assert second != first
    assert caplog.messages == [
        f"answering 503, id {first}: port 1: gone",
        caplog.messages[1],
        f"answering 503, id {second}: port 3: gone",
    ]


def test_errors_of_ever_new_kinds_are_not_kept_for_ever() -> None:
    incidents = Incidents(lambda: 0.0)
    for number in range(1000):
        incidents.name_of(ValueError("x" * number))
    assert len(incidents._met) == 64
