"""How far flows are behind, by topic and partition: by what they told, and when the log was seen to end where."""

from __future__ import annotations

from collections import Counter

from contracts.settings import RedisSettings
from eventlog.contract import Topic
from gateway.flow_lag import APART_S, LOOKS, Behind, EndLooks, behind
from state.read_progress import ReadProgress, Told
from tests.gateway.conftest import Client, event


def test_a_partition_is_as_far_behind_as_its_oldest_unread_record_was_seen_to_be_there() -> None:
    looks = EndLooks()
    looks.note({"clicks": [10, 0]}, 100.0)
    looks.note({"clicks": [20, 0]}, 115.0)
    looks.note({"clicks": [30, 4]}, 130.0)
    told = Told({("profiles", "clicks", 0): 10, ("other", "clicks", 0): 1}, Counter())
    assert behind(told, {"clicks": [30, 4]}, looks, 131.0) == [
        Behind("profiles", "clicks", 0, 20, 16.0),  # record 10 was there at 115
        Behind("profiles", "clicks", 1, 4, 1.0),
    ]
    told.reached["profiles", "clicks", 0] = 30
    told.reached["profiles", "clicks", 1] = 9  # a log that was emptied
    assert behind(told, {"clicks": [30, 4]}, looks, 131.0) == [
        Behind("profiles", "clicks", 0, 0, 0.0),
        Behind("profiles", "clicks", 1, 0, 0.0),
    ]
    told.reached["profiles", "clicks", 0] = 30
    assert behind(told, {"clicks": [31, 4]}, looks, 131.0)[0].seconds == 0.0  # nobody has looked since


def test_looks_are_bounded_and_not_taken_at_once() -> None:
    looks = EndLooks()
    looks.note({"clicks": [1]}, 0.0)
    looks.note({"clicks": [2]}, APART_S - 0.1)
    assert looks.waits_s("clicks", 0, 1, 60.0) == 0.0
    for at in range(1, LOOKS + 1):
        looks.note({"clicks": [at]}, at * APART_S)
    assert looks.waits_s("clicks", 0, 0, LOOKS * APART_S) == (LOOKS - 1) * APART_S


async def test_metrics_tell_what_flows_have_not_read(client: Client, redis_settings: RedisSettings) -> None:
    text = await (await client.get("/metrics")).text()
    assert "nextclick_gateway_flow_records_behind{" not in text, "no flow has read anything"
    at = (await (await client.post("/api/events", json=[event("e-1"), event("e-2")])).json())["token"]
    partition = int(at[1:].partition(":")[0])
    progress = ReadProgress(redis_settings, "sessions", Topic.CLICKS)
    progress.tell({partition: 1})
    progress.close()
    text = await (await client.get("/metrics")).text()
    labels = f'{{flow="sessions",partition="{partition}",topic="clicks"}}'
    assert f"\nnextclick_gateway_flow_records_behind{labels} 1.0\n" in text
    assert f"\nnextclick_gateway_flow_seconds_behind{labels} 0.0\n" in text
