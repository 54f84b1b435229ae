"""What a user looked at on earlier visits and did not buy is shown before the first click, and says so."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.api import Placement
from contracts.events import EventCode
from contracts.ids import item_key
from contracts.profiles import Profile
from contracts.scenarios import Scenario
from contracts.sessions import CLICK
from rerank.affinities import Learnt, weights_of
from rerank.own_items import own_items
from rerank.pipeline import Query, RankedItem
from rerank.scenarios.compiled import compile_scenario
from tests.rerank.shop import NOW, Shop, session

DAY = 86_400_000
EARLIER = "you looked at this on an earlier visit"
WEIGHTS = weights_of({"view": 1.0, "cart": 3.0, "purchase": 5.0, "hide": -3.0})
VIEW, CART, PURCHASE, HIDE = EventCode.VIEW, EventCode.CART, EventCode.PURCHASE, EventCode.HIDE
Click = tuple[str, EventCode, float]
KNOWN: tuple[Click, ...] = (
    ("games-9", VIEW, 1),
    ("lamps-9", CART, 20),
    ("books-9", VIEW, 2),
    ("shoes-9", CART, 3),
    ("shoes-9", PURCHASE, 3),
    ("shoes-8", HIDE, 3),
)


def learnt(*clicks: Click) -> Learnt:
    """A profile of clicks (item, type, days ago)."""
    window = [(NOW - round(days * DAY), item_key(item), n, code) for n, (item, code, days) in enumerate(clicks)]
    return Learnt(Profile(np.array(window, CLICK), events=len(clicks)), WEIGHTS, 14.0 * DAY)


def ask(
    *clicks: str, placement: Placement = Placement.HOMEPAGE, own: int | None = None, **more: object
) -> list[RankedItem]:
    scenario = None
    if own is not None:
        document = Scenario.model_validate({"base": placement.value, "sources": {"own": own}})
        scenario = compile_scenario("mine", 1, document, lambda base: None)
    asked = {"limit": 6, "learnt": learnt(*KNOWN), "scenario": scenario, **more}
    visit = session(*clicks) if clicks else None
    [answer] = Shop().pipeline().recommend([Query(NOW, placement, visit, **asked)])  # type: ignore[arg-type]
    return answer.items


def earlier(items: list[RankedItem]) -> list[str]:
    return [item.item_id for item in items if item.reason == EARLIER]


def test_own_items_count_by_type_and_age_and_what_was_bought_does_not() -> None:
    found = own_items(learnt(*KNOWN), NOW).tolist()
    assert found == [item_key("lamps-9"), item_key("games-9"), item_key("books-9")]
    assert own_items(learnt(("games-9", VIEW, 0), ("games-9", PURCHASE, 3)), NOW).tolist() == []
    assert own_items(Learnt(Profile(), WEIGHTS, 14.0 * DAY), NOW).tolist() == []


@pytest.mark.parametrize("placement", [Placement.HOMEPAGE, Placement.EMAIL, Placement.PUSH])
def test_a_page_before_the_first_click_begins_with_them(placement: Placement) -> None:
    items = ask(placement=placement)
    assert [item.item_id for item in items[:3]] == ["lamps-9", "games-9", "books-9"]
    assert earlier(items) == ["lamps-9", "games-9", "books-9"]
    assert len(items) == 6


def test_after_the_first_click_they_are_no_candidates_of_their_own() -> None:
    assert earlier(ask("shoes-1")) == []
    assert earlier(ask(item_id="shoes-1", placement=Placement.PRODUCT)) == []
    assert earlier(ask(candidates=("games-9", "shoes-1"), placement=Placement.SEARCH)) == []


def test_a_scenario_says_how_many_there_are() -> None:
    assert earlier(ask(own=2)) == ["lamps-9", "games-9"]
    assert earlier(ask(own=0)) == []


def test_one_of_whom_nothing_is_known_sees_what_everybody_sees() -> None:
    shown = [item.item_id for item in ask(learnt=None)]
    assert shown == [item.item_id for item in ask(learnt=Learnt(Profile(), WEIGHTS, 14.0 * DAY))]
    assert "games-9" not in shown
