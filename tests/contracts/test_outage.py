"""An outage is told in two lines, however long it lasts and however often it is met."""

from __future__ import annotations

import logging

import pytest

from contracts.outage import Outage, SharedOutage

LOG = logging.getLogger("test.outage")


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_it_is_said_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    outage = Outage(LOG, "clicks: ", clock=clock)
    outage.over()
    for reason in ("full", "full", "gone"):
        outage.failed(reason)
        clock.now_s += 1.5
    outage.over()
    outage.over()
    assert caplog.messages == ["clicks: waiting: full", "clicks: going on after 4.5 s (failures: 3; the first: full)"]


def test_what_fails_and_works_in_turns_is_one_outage(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    outage = Outage(LOG, settle_s=1.0, clock=clock)
    for _ in range(50):
        outage.failed("full")
        clock.now_s += 0.25
        outage.over()
    assert (caplog.messages, outage.failures) == (["waiting: full"], 50)
    clock.now_s += 0.75
    outage.over()
    assert caplog.messages[1:] == ["going on after 13.2 s (failures: 50; the first: full)"]
    assert outage.failures == 0


def test_what_several_parts_meet_is_said_once_and_over_when_none_fails_any_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    shared = SharedOutage(LOG, "tables: ", clock=clock)
    items, trends = shared.part(), shared.part()
    for _ in range(3):
        items.failed("gone")
        trends.failed("refused")
        clock.now_s += 1.0
    items.over()
    clock.now_s += 1.0
    items.over()
    assert caplog.messages == ["tables: waiting: gone"]
    trends.over()
    items.over()
    assert caplog.messages[1:] == ["tables: going on after 4.0 s (failures: 6; the first: gone)"]
    trends.failed("again")
    assert caplog.messages[2:] == ["tables: waiting: again"]
