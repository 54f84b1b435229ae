"""The ladder of what an answer goes by: each rung is named, and the first that is known stands."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.api import ColdStart, Placement
from contracts.events import EventCode
from contracts.ids import item_key
from rerank.pipeline import Query, Ranked
from retrieval.groups import groups_of
from tests.rerank.shop import NOW, Shop, session, trend, vector

NORTH = groups_of("north")
CLICKED = session("games-3")
HID = session(("games-3", EventCode.HIDE))


@pytest.fixture(scope="module")
def shop() -> Shop:
    shop = Shop()
    for name, popularity in (("lamps-9", 500.0), ("books-9", 300.0)):
        shop.trends.apply([(item_key(name), trend(popularity))])
    shop.trends.apply([(NORTH[0], trend(400.0, {"lamps-9": 300.0, "books-9": 100.0}))])
    return shop


def ask(shop: Shop, **known: Any) -> Ranked:
    [answer] = shop.pipeline().recommend([Query(NOW, limit=4, **known)])
    return answer


@pytest.mark.parametrize(
    ("known", "rung"),
    [
        ({"session": CLICKED, "taste": vector("shoes", 1), "groups": NORTH}, "session"),
        ({"session": CLICKED, "item_id": "shoes-1", "placement": Placement.PRODUCT}, "session"),
        ({"item_id": "shoes-1", "placement": Placement.PRODUCT, "taste": vector("lamps", 1)}, "page"),
        ({"item_id": "not-here", "placement": Placement.PRODUCT}, "page"),
        ({"taste": vector("shoes", 1), "groups": NORTH}, "profile"),
        ({"session": HID, "taste": vector("shoes", 1)}, "profile"),
        ({"taste": vector("shoes", 1), "taste_is_learnt": False}, "said"),
        ({"candidates": ("shoes-1", "lamps-2"), "placement": Placement.SEARCH, "groups": NORTH}, "given"),
        ({"groups": NORTH}, "popular_here"),
        ({"groups": groups_of("nowhere")}, "popular"),
        ({"session": HID}, "popular"),
        ({}, "popular"),
    ],
)
def test_an_answer_names_the_first_rung_that_is_known(shop: Shop, known: dict[str, Any], rung: str) -> None:
    assert ask(shop, **known).cold_start == rung


def test_where_nobody_clicked_anything_it_is_the_newest() -> None:
    shop = Shop()
    shop.trends.apply([(item_key(name), None) for name in shop.item_ids])
    assert ask(shop).cold_start is ColdStart.NEWEST
    assert ask(shop, groups=NORTH).cold_start is ColdStart.NEWEST
    assert len(ask(shop).items) == 4


def test_the_group_leads_and_its_items_say_so(shop: Shop) -> None:
    here = ask(shop, groups=NORTH)
    assert [(one.item_id, one.reason) for one in here.items[:2]] == [
        ("lamps-9", "popular with visitors like you"),
        ("books-9", "popular with visitors like you"),
    ]
    assert {one.reason for one in here.items[2:]} == {"popular now"}
    assert len(here.items) == 4


def test_requests_of_one_batch_stand_on_rungs_of_their_own(shop: Shop) -> None:
    queries = [Query(NOW, limit=4, groups=NORTH), Query(NOW, limit=4), Query(NOW, limit=4, session=CLICKED)]
    together = shop.pipeline().recommend(queries)
    assert [one.cold_start for one in together] == ["popular_here", "popular", "session"]
    apart = [shop.pipeline().recommend([query])[0] for query in queries]
    assert [[one.item_id for one in answer.items] for answer in together] == [
        [one.item_id for one in answer.items] for answer in apart
    ]
