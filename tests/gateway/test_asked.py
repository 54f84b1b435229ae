"""What a catalogue change is answered with beside its own answer: how much the process is asked for; and who waits."""

from __future__ import annotations

from typing import Any

from gateway.asked import Asked
from tests.gateway.conftest import Client
from tests.gateway.streams import Streams
from tests.gateway.test_items import SHOE


def test_the_rate_is_of_the_last_seconds_or_since_it_was_asked_last() -> None:
    asked = Asked(0.0)
    assert asked.per_s(100.0, 50) == 0.5  # nobody asked before: since the beginning
    assert asked.per_s(100.1, 50) == 50 / 100.1  # too soon for another sample
    assert asked.per_s(104.0, 50) == 50 / 104
    assert asked.per_s(106.0, 70) == 20 / 6
    assert asked.per_s(112.0, 70) == 0.0
    assert asked.per_s(3600.0, 70 + 3488) == 1.0


async def test_who_changes_the_catalogue_is_told_how_much_is_asked(client: Client, streams: Streams) -> None:
    answer = await client.put("/api/items/shoe-1", json=SHOE)
    assert float(answer.headers["Nextclick-Asked-Per-Second"]) == 0.0
    for _ in range(30):
        await client.post("/api/recommendations/homepage", json={"session_id": "s-1"})
    answer = await client.post("/api/stock", json=[{"item_id": "shoe-1", "stock": 3}])
    assert float(answer.headers["Nextclick-Asked-Per-Second"]) > 0.0


async def test_who_prefers_not_to_wait_is_answered_at_once_and_the_change_comes(client: Client) -> None:
    def visible(answer: Any) -> Any:
        return answer["accepted"], answer["visible"]

    # no flow runs: whoever waited would wait for a minute
    for prefer in ("wait=0", "respond-async, wait=0", "WAIT=0"):
        answer = await client.put("/api/items/shoe-1", json=SHOE, headers={"Prefer": prefer})
        assert (answer.status, visible(await answer.json())) == (202, (1, False))
    answer = await client.delete("/api/items/shoe-1", headers={"Prefer": "wait=0"})
    assert (answer.status, visible(await answer.json())) == (202, (1, False))
