"""A recording as it came: what is ahead of its time is known by the records around it."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest

from contracts.events import Rejection
from quality.recorded import as_they_came

NOW = 1_790_000_000_000
MINUTE = 60_000


def line(n: int, ts: int) -> bytes:
    event = {"v": 1, "event_id": f"e{n}", "type": "view", "session_id": "s", "item_id": "i", "ts": ts}
    return orjson.dumps(event)


def reasons(stamps: list[int]) -> list[tuple[int, str]]:
    found = as_they_came((line(n, ts) for n, ts in enumerate(stamps)), NOW + 10**9)
    return [(n, one.reason) for n, one in enumerate(found) if isinstance(one, Rejection)]


@pytest.mark.parametrize("gap", [1000, MINUTE, 60 * MINUTE])
@pytest.mark.parametrize("events", [1, 10, 200])
def test_no_event_of_a_recording_in_order_is_ahead_however_sparse_it_is(gap: int, events: int) -> None:
    assert reasons([NOW + n * gap for n in range(events)]) == []


def test_what_is_ahead_of_the_events_around_it_is_rejected_and_late_ones_push_nobody_ahead() -> None:
    stamps = [NOW + n * 1000 for n in range(300)]
    for n in range(0, 300, 20):
        stamps[n] += 2 * 60 * MINUTE
    for n in range(0, 300, 7):
        stamps[n] -= 180 * MINUTE if n % 20 else 0
    found = reasons(stamps)
    assert Counter(reason for _, reason in found) == {"future_timestamp": 15}
    assert [n for n, _ in found] == list(range(0, 300, 20))


def test_what_cannot_be_read_keeps_its_reason_and_its_place() -> None:
    found = list(as_they_came([line(0, NOW), b"{", line(1, NOW + 1)], NOW))
    assert [getattr(one, "reason", "event") for one in found] == ["event", "not_json", "event"]
