"""Applying a batch through outages: it waits with the batch in hand, says so once, and goes on."""

from __future__ import annotations

import pytest

from contracts.errors import StateConflict, StateUnavailable
from eventlog.contract import Batch, Message, Topic
from flows.apply_once import apply_once
from flows.log_source import Cursor

BATCH = Batch(Topic.CLICKS, 2, 5, 7, [Message(5, b""), Message(6, b"")])


def test_an_outage_is_waited_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    failures, pauses, cursor = [StateUnavailable("Redis is down")] * 3, list[float](), Cursor()

    def attempt() -> None:
        if failures:
            raise failures.pop()

    assert apply_once(attempt, BATCH, cursor, pause_ms=250, sleep=pauses.append) == 2
    assert pauses == [0.25, 0.25, 0.25]
    assert cursor.take_applied() == {2: 7}
    assert caplog.messages[0] == "waiting: Redis is down"
    assert len(caplog.records) == 2


def test_a_batch_out_of_place_is_read_again_from_the_stored_offset() -> None:
    def attempt() -> None:
        raise StateConflict("partition 2", 5, 4)

    cursor = Cursor()
    assert apply_once(attempt, BATCH, cursor, pause_ms=1) == 0
    assert cursor.take_rewinds() == {2: 4}
