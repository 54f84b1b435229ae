"""What the trends flow writes is what training counted: the same events through both, into columns of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.events import Event
from contracts.ids import item_key
from tests.flows.counted import GAP_MS, RULES, Columns, Flow, assert_same, flowed, trained
from tests.rerank.shop import CATEGORIES
from tests.rerank.traffic import START, traffic
from tests.rerank.traffic import event as click

EVERY = 50
SHOP = [f"{category}-{at}" for category in CATEGORIES for at in range(12)]


def shown(number: int, session_id: str, items: list[str], ts: int) -> Event:
    fields = {"event_id": f"i{number}", "type": "impression", "session_id": session_id, "items": items, "ts": ts}
    return Event.model_validate({"v": 1, **fields})


def restless(visitors: int) -> list[Event]:
    """Visitors who look again and again, go back after dozens of clicks, and click twice in a millisecond."""
    random, events = np.random.default_rng(9), list[Event]()
    for visitor in range(visitors):
        items = [*random.integers(0, 12, 30), *[3] * 60, *random.integers(0, 12, 30)]
        for at, item in enumerate(items):
            ts = START + 900_000 * visitor + 500 * (at // 2)
            events.append(click(100_000 + 1000 * visitor + at, f"r{visitor}", f"shoes-{item}", ts))
    return events


def browsing(visitors: int) -> list[Event]:
    """Visitors who are shown pages and click some of their items, at once, twice, much later, or not at all; between
    two clicks they may pause for an hour, with or without a page in between.
    """
    random, events = np.random.default_rng(5), list[Event]()
    for visitor in range(visitors):
        ts, name = START + 400_000 * visitor, f"b{visitor}"
        for step in range(int(random.integers(2, 8))):
            page = [f"shoes-{item}" for item in random.integers(0, 12, 6)]  # some twice
            events.append(shown(1000 * visitor + step, name, page, ts))
            for again in range(int(random.integers(0, 3))):
                ts += int(random.choice([0, 5_000, 1_000_000, 3_600_000], p=[0.2, 0.6, 0.1, 0.1]))
                item = page[int(random.integers(6))] if random.random() < 0.7 else "books-1"
                number = 500_000 + 1000 * visitor + 10 * step + again
                events.append(click(number, name, item, ts, type=str(random.choice(["view", "cart"]))))
            ts += int(random.choice([1_000, 1_200_000, 3_600_000], p=[0.8, 0.1, 0.1]))
    return sorted(events, key=lambda one: one.ts)


def jumbled(events: list[Event]) -> list[Event]:
    """The events in an order of arrival: some repeated at once or later, some minutes late, some hours late."""
    random, arrived = np.random.default_rng(2), list[tuple[float, Event]]()
    for at, event in enumerate(events):
        arrived.append((at + float(random.choice([0, 20, 2000], p=[0.8, 0.15, 0.05])), event))
        if random.random() < 0.1:
            arrived.append((at + float(random.choice([0, 30])), event))
    return [event for _, event in sorted(arrived, key=lambda one: one[0])]


HISTORIES: dict[str, Callable[[], list[Event]]] = {
    "clicks": lambda: sorted([*traffic(200), *restless(12)], key=lambda one: one.ts),
    "clicks and impressions": lambda: browsing(150),
    "in any order, and repeated": lambda: jumbled(browsing(150)),
}


@pytest.mark.parametrize("history", HISTORIES)
def test_the_flow_and_training_serve_the_same_counts(history: str) -> None:
    events = HISTORIES[history]()
    now_ms = max(event.ts for event in events)

    served, learnt = flowed(events, EVERY), trained(events, EVERY)

    assert_same(served, learnt, SHOP, now_ms)
    assert served.trends.recent(now_ms, 5).tolist() == learnt.trends.recent(now_ms, 5).tolist()
    assert_all_is_counted(served, now_ms, impressions=history != "clicks")


def test_a_flow_that_goes_on_from_what_it_saved_serves_the_same_counts() -> None:
    events = browsing(60)

    served, learnt = flowed(events, EVERY, restarts=True), trained(events, EVERY)

    assert_same(served, learnt, SHOP, events[-1].ts)


def assert_all_is_counted(columns: Columns, now_ms: int, *, impressions: bool) -> None:
    """A comparison of nothing with nothing would hold: every kind of count has to be there."""
    rows = columns.trends.rows_of(np.array([item_key(item) for item in SHOP], np.uint64))
    assert len(columns.ended) > 100
    assert (columns.trends.origin_counts_at(rows).sum(axis=0) > 0).all()
    shown_ones, clicked = columns.trends.shown_at(rows).T
    assert bool(shown_ones.any()) == bool(clicked.any()) == impressions
    assert (clicked <= shown_ones * 1.1).all()  # a click is counted at its own time, later than what was shown


def test_it_makes_no_difference_in_which_order_the_two_topics_are_read() -> None:
    """Training reads a log in time order. The flow reads two topics, each in its order, either one far ahead."""
    events = browsing(60)
    clicks = [event for event in events if not event.is_impression]
    pages = [event for event in events if event.is_impression]
    in_turns = [event for some in chunks_in_turn(pages, clicks, 7, 3) for event in some]
    now_ms, learnt = events[-1].ts, trained(events, 1_000_000)

    for order in (events, [*clicks, *pages], [*pages, *clicks], in_turns):
        assert_same(flowed(order, 1_000_000), learnt, SHOP, now_ms)


def chunks_in_turn(pages: list[Event], clicks: list[Event], some: int, few: int) -> list[list[Event]]:
    """Split both lists into chunks, some pages and a few clicks in turns."""
    turns = max(-(-len(pages) // some), -(-len(clicks) // few))
    chunks = [(pages[some * at : some * at + some], clicks[few * at : few * at + few]) for at in range(turns)]
    return [chunk for pair in chunks for chunk in pair]


class Step(NamedTuple):
    """One event of a drawn history. `pause_ms` may be below zero: it comes late. `again` reads it once more."""

    session: str
    items: list[str]
    is_click: bool
    pause_ms: int
    again: bool


PAUSES = st.one_of(
    st.integers(0, 60_000),
    st.sampled_from([0, GAP_MS - 1, GAP_MS, GAP_MS + 1, 2 * GAP_MS, -1, -GAP_MS // 2, -GAP_MS, -GAP_MS - 1]),
)
STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["s", "t"]),
        st.lists(st.sampled_from(SHOP[:5]), min_size=1, max_size=4),
        st.booleans(),
        PAUSES,
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


def history_of(steps: list[Step]) -> list[Event]:
    events, ts = list[Event](), START
    for number, step in enumerate(steps):
        ts = max(0, ts + step.pause_ms)
        if step.is_click:
            one = click(number, step.session, step.items[0], ts)
        else:
            one = shown(number, step.session, step.items, ts)
        events += [one, one] if step.again else [one]
    return events


@given(STEPS, st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_any_history_is_counted_the_same(steps: list[Step], every: int) -> None:
    events = history_of(steps)
    now_ms = max(event.ts for event in events)

    assert_same(flowed(events, every), trained(events, every), SHOP[:5], now_ms)


CHANGES: dict[str, Callable[[], Flow]] = {
    "a session ends later": lambda: Flow(idle_gap_ms=GAP_MS * 2),
    "a session ends sooner": lambda: Flow(idle_gap_ms=GAP_MS // 2),
    "fewer items pair": lambda: Flow(rules=replace(RULES, pair_window=2)),
    "counts fade sooner": lambda: Flow(rules=replace(RULES, half_life=RULES.half_life / 2)),
    "recent counts fade sooner": lambda: Flow(rules=replace(RULES, recent_pace=96.0)),
    "sessions take other slots": lambda: Flow(rules=replace(RULES, sessions=1000)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_side_that_is_changed_alone_is_noticed(change: str) -> None:
    events = browsing(60)
    with pytest.raises(AssertionError):
        assert_same(flowed(events, EVERY, CHANGES[change]()), trained(events, EVERY), SHOP, events[-1].ts)


LEFT_OUT: dict[str, Callable[[Event], bool]] = {
    "impressions": lambda event: event.is_impression,
    "one impression": lambda event: event.event_id == "i5001",
    "one click": lambda event: event.event_id == "e504010",
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_an_event_that_one_side_does_not_count_is_noticed(kind: str) -> None:
    events = browsing(60)
    left = [event for event in events if not LEFT_OUT[kind](event)]
    assert len(left) < len(events)
    with pytest.raises(AssertionError):
        assert_same(flowed(events, EVERY), trained(left, EVERY), SHOP, events[-1].ts)
