"""Pages with what was drawn: a row a page for a bandit's log, and the credit of interleaved ones."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.credit import CreditRules
from attribution.drawn_pages import Credit, DrawnPage, credits_of, drawn_pages
from attribution.facts import Fact, Page, fact_of
from contracts.plain_events import PlainEvent, check_event

NOW = 1_700_000_000_000
MINUTE = 60_000
RULES = CreditRules(click_ms=30 * MINUTE, purchase_ms=7 * 86_400_000)


def fact(**fields: Any) -> Fact:
    event = check_event({"v": 1, **fields}, now_ms=NOW + 86_400_000)
    assert isinstance(event, PlainEvent), event
    found = fact_of(event)
    assert found is not None
    return found


def shown(request_id: str, at: int, session: str = "s1", **context: Any) -> Fact:
    context = {"placement": "homepage", "experiment": "x", "device": "phone", "returning": False, **context}
    own = {"type": "impression", "event_id": f"impression-{request_id}", "request_id": request_id}
    return fact(**own, ts=NOW + at, items=["i1", "i2", "i3"], context=context, session_id=session)


def click(item_id: str, at: int, session: str = "s1") -> Fact:
    return fact(type="view", event_id=f"{session}-{item_id}-{at}", ts=NOW + at, item_id=item_id, session_id=session)


def mixed(request_id: str, at: int, session: str = "s1", **more: Any) -> Fact:
    teams: dict[str, Any] = {"variant": "interleaved", "between": ["control", "b"], "teams": [0, 1, 1], **more}
    return shown(request_id, at, session, **teams)


DRAWN = [
    shown("p1", 0, variant="b", propensity=0.75),
    click("i1", 1000),
    click("i2", 2000),
    shown("p2", 40 * MINUTE, variant="control", propensity=0.25),
    shown("p3", 0, "s2", variant="b", propensity=1),
    click("i9", 1000, "s2"),
    shown("p4", 0, "s3", variant="holdout"),
    shown("p5", 0, "s4", variant="b", propensity=0.5, experiment="y"),
]
ROWS = [
    DrawnPage("b", 1, 0.75, "phone", "no", "", "s1", "p1", NOW),
    DrawnPage("control", 0, 0.25, "phone", "no", "", "s1", "p2", NOW + 40 * MINUTE),
    DrawnPage("b", 0, 1.0, "phone", "no", "", "s2", "p3", NOW),
]


@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(DRAWN), max_size=5))
def test_a_bandits_log_has_a_row_for_each_page_whose_variant_was_drawn(
    order: random.Random, repeated: list[Fact]
) -> None:
    facts = [*DRAWN, *repeated]
    order.shuffle(facts)
    assert drawn_pages(facts, "x", RULES, unit="session") == ROWS


@pytest.mark.parametrize("wrong", [0, -0.5, 1.5, True, "0.5", None, [0.5]])
def test_what_is_no_probability_is_no_propensity(wrong: object) -> None:
    page = shown("p1", 0, variant="b", propensity=wrong).what
    assert isinstance(page, Page)
    assert page.propensity is None


@pytest.mark.parametrize("teams", [None, [0, 1], [0, 1, 2], [0, 1, "1"], "011", [0, 1, 1, 1]])
def test_teams_that_do_not_stand_beside_the_items_are_none(teams: object) -> None:
    page = mixed("p1", 0, teams=teams).what
    assert isinstance(page, Page)
    assert (page.between, page.teams) == (None, b"")


MIXED = [
    mixed("p1", 0),
    click("i2", 1000),
    click("i2", 1500),
    click("i3", 2000),
    click("i1", 3000),
    mixed("p2", 40 * MINUTE),
    click("i2", 41 * MINUTE),
    mixed("p3", 0, "s2"),
    click("i1", 1000, "s2"),
    mixed("p4", 0, "s3"),
    shown("p5", 0, "s4", variant="b"),
    click("i2", 1000, "s4"),
]


@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(MIXED), max_size=5))
def test_a_clicked_item_counts_once_a_page_for_the_variant_that_brought_it(
    order: random.Random, repeated: list[Fact]
) -> None:
    facts = [*MIXED, *repeated]
    order.shuffle(facts)
    assert credits_of(facts, "x", RULES, unit="session") == {
        "s1": Credit("control", "b", 2),
        "s2": Credit("control", "b", -1),
        "s3": Credit("control", "b", 0),
    }


def test_pages_of_an_earlier_pair_of_variants_count_for_nothing() -> None:
    earlier = [mixed("p0", -5 * MINUTE, "s9", between=["control", "a"]), click("i2", -4 * MINUTE, "s9")]
    assert "s9" not in credits_of([*MIXED, *earlier], "x", RULES, unit="session")
    assert credits_of([], "x", RULES, unit="session") == {}
