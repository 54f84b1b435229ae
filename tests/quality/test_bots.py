"""Sessions that no human has, whatever their events' times say."""

from __future__ import annotations

import pytest

from contracts.events import Event
from quality.bots import MINUTE_MS, RATE, BotRules, Visits

RULES = BotRules(rate=90, breadth=300, agents=True, gap_ms=30 * MINUTE_MS, max_sessions=1000)
AT_MS = 1_790_000_000_000 // MINUTE_MS * MINUTE_MS


@pytest.mark.parametrize("jump", [1, 2, 7])
def test_times_that_jump_back_and_forth_between_minutes_hide_no_rate(jump: int) -> None:
    visits = Visits(RULES)
    told = [visits.see(click(n, AT_MS + n % 2 * jump * MINUTE_MS)) for n in range(182)]
    assert (told[179], told[181]) == ("", RATE)


def test_ninety_events_in_each_minute_are_a_humans() -> None:
    visits = Visits(RULES)
    assert {visits.see(click(n, AT_MS + n // 90 * MINUTE_MS)) for n in range(900)} == {""}


def click(number: int, ts_ms: int) -> Event:
    return Event(v=1, event_id=f"e{number}", type="view", session_id="s", item_id="i", ts=ts_ms)
