"""What a page showed above the click is passed over, and is the click's own negative in training."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.events import Event
from session_model.batches import Sampler
from session_model.histories import Histories, from_events


def click(session: str, item: str, ts: int, request: str | None = None) -> Event:
    return Event(
        v=1, event_id=f"{session}{item}{ts}", type="view", session_id=session, item_id=item, ts=ts, request_id=request
    )


def page(session: str, request: str | None, ts: int, *items: str) -> Event:
    return Event(
        v=1,
        event_id=f"p{session}{ts}",
        type="impression",
        session_id=session,
        items=list(items),
        ts=ts,
        request_id=request,
    )


def build(events: list[Event], max_clicks: int = 50) -> Histories:
    return from_events(events, idle_gap_ms=1000, max_clicks=max_clicks)


def passed(histories: Histories) -> list[list[str]]:
    assert histories.pages is not None
    found = histories.passed_over.take(histories.pages, 9)
    return [[histories.item_ids[item] for item in row if item >= 0] for row in found.tolist()]


KNOWN = [click("z", item, at, None) for at, item in enumerate("abcdef")]


def test_items_shown_above_the_click_are_passed_over_nearest_first() -> None:
    histories = build(
        [*KNOWN, click("s", "f", 2000), page("s", "r", 2001, "a", "b", "c", "d"), click("s", "c", 2003, "r")]
    )
    seen = page("s", "r", 2002, "c").model_copy(update={"event_id": "v", "context": {"seen": True}})
    assert passed(build([*KNOWN, page("s", "r", 2001, "a", "b", "c"), seen, click("s", "c", 2003, "r")]))[-1] == [
        "b",
        "a",
    ]
    assert passed(histories) == [[], [], [], [], [], [], [], ["b", "a"]]


def test_items_clicked_in_the_session_or_by_nobody_are_left_out() -> None:
    shown = page("s", "r", 2001, "a", "unseen", "b", "c")
    histories = build([*KNOWN, click("s", "f", 2000), shown, click("s", "c", 2002, "r"), click("s", "a", 2003)])
    assert passed(histories)[-2:] == [["b"], []]


@pytest.mark.parametrize(
    ("shown", "named"),
    [
        (page("s", "r", 2001, "a", "c"), "other"),
        (page("s", None, 2001, "a", "c"), "r"),
        (page("s", "r", 2001, "a", "b"), "r"),
        (page("s", "r", 2001, "c", "b"), "r"),
    ],
    ids=["another page", "a page without a name", "a page that did not show it", "nothing above it"],
)
def test_a_click_that_came_from_no_known_page_passed_nothing_over(shown: Event, named: str) -> None:
    histories = build([*KNOWN, click("s", "f", 2000), shown, click("s", "c", 2002, named)])
    assert passed(histories)[-1] == []


def test_lists_stay_with_their_clicks_when_sessions_are_sorted_cut_and_picked() -> None:
    events = [*KNOWN]
    for session, first, second in (("s", 3000, "ba"), ("t", 2000, "dc")):
        events += [click(session, "f", first - 1), click(session, "e", first)]
        events += [page(session, session, first + 1, *second), click(session, second[1], first + 2, session)]
    histories = build(events, max_clicks=2)
    assert passed(histories) == [[], [], [], ["d"], [], ["b"]]
    assert passed(histories.pick(np.array([2, 0]))) == [[], ["b"], [], []]


def test_a_batch_carries_what_its_targets_passed_over_and_nothing_when_not_asked() -> None:
    histories = build([*KNOWN, click("s", "f", 2000), page("s", "r", 2001, "a", "b", "c"), click("s", "c", 2002, "r")])
    drawn = {"half_life_share": 0.5, "power": 0.5, "batch_sessions": 1, "negatives": 1}
    batch = Sampler.of(histories, **drawn, passed=3).batch(np.array([1]), np.random.default_rng(1))
    assert [histories.item_ids[row] for row in batch.passed_rows] == ["a", "b"]
    assert batch.passed.tolist() == [[1, 0, -1]]
    none = Sampler.of(histories, **drawn).batch(np.array([1]), np.random.default_rng(1))
    assert none.passed.shape == (1, 0)
    assert len(none.passed_rows) == 0
    assert none.rows.tolist() == batch.rows.tolist()  # the other candidates are the same
