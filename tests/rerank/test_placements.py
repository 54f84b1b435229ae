"""What the placements mean, on a small shop: each asks and lays out its pages in its own way."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.api import ItemGroup, Placement
from contracts.codec import EndedSession
from contracts.events import EventCode
from contracts.ids import ItemKey, item_key
from contracts.scenarios import Scenario
from rerank.pipeline import Pipeline
from rerank.query import PipelineSettings, Query, RankedItem
from rerank.scenarios.compiled import compile_scenario
from rerank.session_vector import in_cart
from retrieval.ended_sessions import Slot, ended_session
from retrieval.serving_state import ServingState
from retrieval.session_columns import SessionColumns
from tests.rerank.shop import NOW, Shop, encoder, session

CART, PURCHASE = EventCode.CART, EventCode.PURCHASE


def key(item_id: str) -> ItemKey:
    return item_key(item_id)


def ended(*sessions: tuple[tuple[str, ...], tuple[str, ...]]) -> SessionColumns:
    """Ended sessions of (clicked, taken) items."""
    columns, found = SessionColumns(), []
    for slot, (clicked, taken) in enumerate(sessions):
        one = ended_session(NOW - 1000 + slot, [key(name) for name in clicked], {key(name) for name in taken})
        assert one is not None
        found.append((Slot(slot), one))
    columns.apply(found)
    return columns


def pipeline(shop: Shop, sessions: SessionColumns | None = None, **options: object) -> Pipeline:
    state = ServingState(shop.catalogue, shop.index, shop.trends, sessions or SessionColumns())
    return Pipeline(state, encoder(), None, PipelineSettings(**options))  # type: ignore[arg-type]


def ask(
    asked: Pipeline, placement: Placement, *clicks: str | tuple[str, EventCode], **more: object
) -> list[RankedItem]:
    [answer] = asked.recommend([Query(NOW, placement, session(*clicks), **{"limit": 8, **more})])  # type: ignore[arg-type]
    return answer.items


def names(items: list[RankedItem]) -> list[str]:
    return [item.item_id for item in items]


def of(category: str, items: list[RankedItem]) -> int:
    return sum(name.startswith(category) for name in names(items))


def test_a_homepage_answers_more_than_the_last_click() -> None:
    shop = Shop()
    for number in (1, 3):
        for category in ("shoes", "books", "games"):
            shop.covisit(f"{category}-{number}", {f"{category}-{other}": 5.0 for other in (4, 5, 6, 7, 8)})
    clicks = ("shoes-1", "books-1", "games-1")
    items = ask(pipeline(shop, category_share=0), Placement.HOMEPAGE, *clicks)
    assert (of("games", items), of("books", items) + of("shoes", items)) == (4, 4)
    assert of("games", ask(pipeline(shop, category_share=0), Placement.EMAIL, *clicks)) > 4


def test_one_interest_may_fill_a_homepage() -> None:
    items = ask(pipeline(Shop(), category_share=0), Placement.HOMEPAGE, "games-1", "games-2")
    assert of("games", items) > 4


def test_scores_of_a_mixed_page_never_rise() -> None:
    scores = [item.score for item in ask(pipeline(Shop()), Placement.HOMEPAGE, "shoes-1", "books-1", "games-1")]
    assert scores == sorted(scores, reverse=True)


def test_a_product_page_shows_what_is_alike_and_then_what_goes_with_it() -> None:
    shop = Shop()
    shop.covisit("games-1", {"lamps-3": 4.0, "books-4": 3.0, "games-9": 2.0})
    items = ask(pipeline(shop), Placement.PRODUCT, "shoes-1", "shoes-2", item_id="games-1")
    groups = [item.group for item in items]
    assert groups[:7] == [ItemGroup.ALIKE] * 5 + [ItemGroup.GOES_WITH] * 2
    assert of("games", items[:5]) == 5
    assert names(items)[5:7] == ["lamps-3", "books-4"]
    assert "games-1" not in names(items)
    assert [item.score for item in items] == sorted((item.score for item in items), reverse=True)


def test_a_product_page_may_be_of_one_category() -> None:
    items = ask(pipeline(Shop()), Placement.PRODUCT, item_id="games-1")
    assert of("games", items) > 4


def test_other_pages_have_no_groups() -> None:
    assert {item.group for item in ask(pipeline(Shop()), Placement.HOMEPAGE, "games-1")} == {None}


@pytest.mark.parametrize("order", [("shoes-1", "games-1"), ("games-1", "shoes-1")])
def test_a_cart_page_leads_with_what_was_taken_together_with_the_whole_cart(order: tuple[str, str]) -> None:
    sessions = ended(
        (("shoes-1", "lamps-2", "books-9"), ("shoes-1", "lamps-2")),
        (("games-1", "lamps-2"), ("games-1", "lamps-2")),
        (("games-1", "books-3"), ("games-1", "books-3")),
        (("games-1", "books-9"), ("games-1",)),
    )
    clicks = (*((name, CART) for name in order), "books-1")
    items = ask(pipeline(Shop(), sessions), Placement.CART, *clicks)
    assert names(items)[0] == "lamps-2"
    assert "books-3" in names(items)[:3]
    assert not {"shoes-1", "games-1"} & set(names(items))


def test_what_was_only_looked_at_is_not_bought_together() -> None:
    sessions = ended((("games-1", "books-9", "lamps-2"), ("games-1", "lamps-2")))
    baskets = np.array([[key("games-1"), 0], [key("books-9"), 0], [0, 0]], np.uint64)
    request, keys, counts = sessions.bought_with(baskets, most=5, newest=500)
    assert (request.tolist(), keys.tolist(), counts.tolist()) == ([0], [key("lamps-2")], [1])


def test_what_most_sessions_took_stands_first_and_the_number_is_bounded() -> None:
    pairs = (("a", "b"), ("a", "c"), ("a", "c"), ("a", "d"), ("a", "d"), ("a", "d"))
    sessions = ended(*((pair, pair) for pair in pairs))
    for most, wanted in ((2, ["d", "c"]), (9, ["d", "c", "b"])):
        _, keys, counts = sessions.bought_with(np.array([[key("a")]], np.uint64), most=most, newest=500)
        assert keys.tolist() == [key(name) for name in wanted]
        assert counts.tolist() == [3, 2, 1][:most]


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), min_size=2, max_size=6), max_size=8),
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True),
)
def test_what_was_taken_together_is_what_a_plain_count_says(
    visits: list[list[tuple[str, bool]]], basket: list[str]
) -> None:
    pairs = [(tuple(name for name, _ in one), tuple(name for name, was in one if was)) for one in visits]
    found = ended(*pairs).bought_with(np.array([[key(name) for name in basket]], np.uint64), most=9, newest=500)
    wanted: Counter[int] = Counter()
    for _, taken in pairs:
        for name in set(basket) & set(taken):
            wanted.update(key(other) for other in set(taken) - {name})
    expected = {item: count for item, count in wanted.items() if item not in {key(name) for name in basket}}
    assert dict(zip(found[1].tolist(), found[2].tolist(), strict=True)) == expected
    assert found[2].tolist() == sorted(found[2].tolist(), reverse=True)


def test_taken_items_come_back_from_an_encoded_row() -> None:
    one = ended_session(NOW, [key("a"), key("b"), key("a")], {key("a")})
    assert isinstance(one, EndedSession)
    assert one.taken == 0b101


def test_what_is_in_the_cart_is_what_was_put_there_and_not_bought() -> None:
    assert in_cart(session(("a-1", CART), ("b-1", CART), ("a-1", PURCHASE), "c-1").window) == [key("b-1")]
    assert in_cart(session(("a-1", CART), ("a-1", PURCHASE)).window) == [key("a-1")]
    assert in_cart(session("a-1").window) == []


def test_a_scenario_may_ask_for_what_was_bought_together() -> None:
    sessions = ended((("games-1", "books-9"), ("games-1", "books-9")))
    wanted = Scenario.model_validate({"sources": {"bought_together": 5, "nearest": 0, "covisited": 0, "trending": 0}})
    scenario = compile_scenario("set", 1, wanted, lambda base: None)
    [answer] = pipeline(Shop(), sessions).recommend([Query(NOW, session=session(("games-1", CART)), scenario=scenario)])
    assert names(answer.items)[0] == "books-9"


GIVEN = ("books-5", "games-3", "lamps-2", "shoes-4")


def test_search_keeps_the_engines_order_for_a_visitor_of_whom_nothing_is_known() -> None:
    [answer] = pipeline(Shop()).recommend([Query(NOW, Placement.SEARCH, candidates=GIVEN)])
    assert names(answer.items) == list(GIVEN)


def test_the_same_visitor_gets_another_answer_on_each_placement() -> None:
    shop = Shop()
    for category in ("shoes", "books", "games"):
        shop.covisit(f"{category}-1", {f"{category}-{other}": 5.0 for other in (4, 5, 6)} | {"lamps-7": 2.0})
    sessions = ended((("shoes-1", "lamps-2"), ("shoes-1", "lamps-2")))
    asked, clicks = pipeline(shop, sessions), ("books-1", ("shoes-1", CART), "games-1")
    pages = {
        "homepage": names(ask(asked, Placement.HOMEPAGE, *clicks)),
        "product": names(ask(asked, Placement.PRODUCT, *clicks, item_id="games-1")),
        "cart": names(ask(asked, Placement.CART, *clicks)),
        "search": names(ask(asked, Placement.SEARCH, *clicks, candidates=GIVEN)),
    }
    assert len({tuple(page) for page in pages.values()}) == 4
