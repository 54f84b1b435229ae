"""An outage is told in two lines, however long it lasts and however often it is met."""

from __future__ import annotations

import logging

import pytest

from contracts.outage import Outage

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
