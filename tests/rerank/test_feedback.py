"""What a visitor said against items: they are gone from the session's answers, and items like them lose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.api import Placement
from contracts.events import EventCode
from contracts.ids import item_key
from contracts.scenarios import Pin, Scenario
from contracts.sessions import CLICK
from rerank.feedback import alike_last, bought_in, has_feedback, parted, turned_down_before
from rerank.query import Query, Ranked
from rerank.scenarios.compiled import compile_scenario
from rerank.session_vector import contexts_of
from tests.rerank.shop import NOW, Shop, encoder, session

HIDE, DISLIKE, UNHIDE, LIKE, RETURN = (
    EventCode.HIDE,
    EventCode.DISLIKE,
    EventCode.UNHIDE,
    EventCode.LIKE,
    EventCode.RETURN,
)


SHOP = Shop()
"""For tests that change nothing of it."""


def answer(shop: Shop, *clicks: str | tuple[str, EventCode], **asked: object) -> Ranked:
    query = Query(NOW, session=session(*clicks), **{"limit": 8, **asked})  # type: ignore[arg-type]
    [found] = shop.pipeline().recommend([query])
    return found


def shown(found: Ranked) -> list[str]:
    return [item.item_id for item in found.items]


def of(category: str, found: Ranked) -> int:
    return sum(name.startswith(category) for name in shown(found))


@pytest.mark.parametrize("code", [HIDE, DISLIKE, RETURN])
def test_a_hidden_item_is_not_shown_again_and_the_answer_says_why(code: EventCode) -> None:
    clicks = ("shoes-1", "books-2", ("books-3", code))
    found = answer(Shop(), *clicks, placement=Placement.SEARCH, candidates=("books-3", "books-4", "shoes-5"), limit=3)
    assert sorted(shown(found)) == ["books-4", "shoes-5"]
    assert found.dropped == {"turned_down": 1}


def test_items_like_a_hidden_one_make_room() -> None:
    before, after = (answer(Shop(), "shoes-1", "books-2", *more) for more in ((), (("books-2", HIDE),)))
    assert (of("books", before), of("books", after)) == (4, 0)
    assert of("shoes", after) == 4


NARROW = {"filter": 'under(category, "shoes")', "sources": {"trending": 0, "recent": 0, "new": 0}}


def narrow(shop: Shop, *clicks: str | tuple[str, EventCode], fallback: list[str]) -> list[str]:
    scenario = Scenario.model_validate({**NARROW, "fallback": fallback})
    return shown(answer(shop, *clicks, scenario=compile_scenario("narrow", 1, scenario, lambda base: None)))


@settings(max_examples=40, deadline=None)
@given(
    hidden=st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
    viewed=st.lists(st.integers(0, 9), max_size=3, unique=True),
    fallback=st.sampled_from([[], ["trending"], ["newest"], ["trending", "newest"]]),
    code=st.sampled_from([HIDE, DISLIKE, RETURN]),
)
def test_a_hide_never_empties_a_page_that_has_items_to_show(
    hidden: list[int], viewed: list[int], fallback: list[str], code: EventCode
) -> None:
    views = [f"shoes-{at}" for at in viewed]
    turned_down = [(f"shoes-{at}", code) for at in hidden]
    found = narrow(SHOP, *views, *turned_down, fallback=fallback)
    left = {f"shoes-{at}" for at in range(10)} - {name for name, _ in turned_down} - set(views)
    assert set(found) <= left
    assert len(found) == min(8, len(left))


def test_what_fills_a_page_after_a_hide_ends_with_what_is_like_it() -> None:
    queries = [Query(NOW, session=session("shoes-3", *more)) for more in ((), (("shoes-3", HIDE),))]
    contexts, rows = contexts_of(queries, SHOP.catalogue, encoder()), np.arange(12, dtype=np.int32)
    categories = [one.split("-")[0] for one in SHOP.item_ids[:12]]
    assert categories == ["shoes", "books", "lamps", "games"] * 3
    assert alike_last(rows, 0, contexts, SHOP.catalogue).tolist() == list(range(12))
    assert alike_last(rows, 1, contexts, SHOP.catalogue).tolist() == [1, 2, 3, 5, 6, 7, 9, 10, 11, 0, 4, 8]


def test_clicks_on_a_hidden_item_no_longer_count() -> None:
    kept, hidden = answer(Shop(), "shoes-1"), answer(Shop(), "shoes-1", "books-2", ("books-2", HIDE))
    assert not any("books-2" in item.reason for item in hidden.items)
    assert {item.reason for item in hidden.items} == {item.reason for item in kept.items}


def test_what_is_sent_back_pushes_less_than_what_is_disliked() -> None:
    def lost(code: EventCode) -> float:
        found = answer(
            Shop(), "shoes-1", ("books-2", code), placement=Placement.EMAIL, candidates=("shoes-4", "books-4")
        )
        scores = {item.item_id: item.score for item in found.items}
        return scores["shoes-4"] - scores["books-4"]

    assert lost(DISLIKE) > lost(RETURN) > lost(EventCode.OTHER)


@pytest.mark.parametrize("code", [UNHIDE, LIKE, EventCode.CART])
def test_a_hide_can_be_taken_back(code: EventCode) -> None:
    given_ = {"placement": Placement.SEARCH, "candidates": ("books-3", "shoes-5")}
    found = answer(Shop(), "books-2", ("books-3", HIDE), ("books-3", code), **given_)
    assert shown(found)[0] == "books-3"
    assert found.dropped == {}


def test_a_view_does_not_take_a_hide_back() -> None:
    found = answer(Shop(), ("books-3", HIDE), "books-3", placement=Placement.SEARCH, candidates=("books-3", "shoes-5"))
    assert shown(found) == ["shoes-5"]


@pytest.mark.parametrize("code", [EventCode.OTHER, EventCode.GLANCE, UNHIDE])
def test_what_says_nothing_changes_nothing(code: EventCode) -> None:
    plain, found = answer(Shop(), "shoes-1", "lamps-3"), answer(Shop(), "shoes-1", ("books-2", code), "lamps-3")
    assert [tuple(item) for item in found.items] == [tuple(item) for item in plain.items]


def test_a_hide_alone_leaves_a_visitor_of_whom_nothing_is_known() -> None:
    found = answer(Shop(), ("books-2", HIDE))
    assert "books-2" not in shown(found)
    assert found.items[0].reason == "popular now"
    assert of("books", found) == 0


def test_a_pin_does_not_bring_a_hidden_item_back() -> None:
    pinned = compile_scenario("pinned", 1, Scenario(pins=[Pin(item_id="books-2", position=1)]), lambda base: None)
    assert shown(answer(Shop(), "books-1", scenario=pinned))[0] == "books-2"
    assert "books-2" not in shown(answer(Shop(), "books-1", ("books-2", HIDE), scenario=pinned))


def test_the_item_of_the_page_pushes_nothing_away() -> None:
    found = answer(Shop(), "shoes-1", ("books-2", HIDE), placement=Placement.PRODUCT, item_id="books-2")
    assert "books-2" not in shown(found)
    assert of("books", found) >= 4


def test_visitors_of_one_batch_do_not_hide_for_each_other() -> None:
    shop = Shop()
    queries = [Query(NOW, session=session("books-1", ("books-2", HIDE))), Query(NOW, session=session("books-1"))]
    hidden, other = shop.pipeline().recommend(queries)
    assert "books-2" not in shown(hidden)
    assert "books-2" in shown(other)


def test_a_plain_window_has_nothing_to_part() -> None:
    assert not has_feedback(session("shoes-1", ("shoes-2", EventCode.CART), ("shoes-3", EventCode.PURCHASE)).window)
    assert has_feedback(session("shoes-1", ("shoes-2", LIKE)).window)
    contexts = contexts_of([Query(NOW, session=session("shoes-1"))], Shop().catalogue, encoder())
    assert contexts.against is None


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(EventCode)), max_size=12))
def test_a_window_is_parted_as_a_plain_reading_says(events: list[tuple[int, EventCode]]) -> None:
    window = np.zeros(len(events), CLICK)
    for at, (item, code) in enumerate(events):
        window[at] = (at, item, at, code)
    wanted, against = parted(window)
    down: dict[int, float] = {}
    for item, code in events:
        if code.name in ("HIDE", "DISLIKE"):
            down[item] = 1.0
        elif code.name == "RETURN":
            down[item] = max(0.5, down.get(item, 0))
        elif code.name in ("UNHIDE", "LIKE", "CART", "PURCHASE"):
            down.pop(item, None)
    read_as = {"VIEW": 1, "LOOK": 1, "LIKE": 1, "CART": 2, "PURCHASE": 3}
    kept = [(item, read_as[code.name]) for item, code in events if code.name in read_as and item not in down]
    assert against == down
    assert list(zip(wanted["item"].tolist(), wanted["code"].tolist(), strict=True)) == kept


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(EventCode)), max_size=12), st.data())
def test_earlier_sessions_and_this_one_are_read_as_one_window(
    events: list[tuple[int, EventCode]], data: st.DataObject
) -> None:
    window = np.zeros(len(events), CLICK)
    for at, (item, code) in enumerate(events):
        window[at] = (at // 2, item, at, code)  # two a millisecond
    begins = data.draw(st.integers(0, len(events)))
    ends = data.draw(st.integers(begins, len(events)))  # what the profile learnt of this session already
    learnt_against = any(code.name in ("HIDE", "DISLIKE", "RETURN") for _, code in events[:ends])
    expected = sorted(parted(window)[1]) if learnt_against else []
    assert turned_down_before(window[:ends], window[begins:]).tolist() == expected
    assert bought_in(window).tolist() == sorted({item for item, code in events if code.name == "PURCHASE"})


def test_a_session_forgets_a_hidden_item_though_its_state_was_stored() -> None:
    shop = Shop()
    state, _ = encoder().encode([session("shoes-1", "books-2").window], shop.catalogue)
    stored = session("shoes-1", "books-2", ("books-2", HIDE), embedding=state[0], model_version=encoder().version)
    contexts = contexts_of([Query(NOW, session=stored)], shop.catalogue, encoder())
    alone = contexts_of([Query(NOW, session=session("shoes-1"))], shop.catalogue, encoder())
    books, shoes = shop.catalogue.rows_of(np.array([item_key("books-2"), item_key("shoes-1")], np.uint64))
    assert contexts.queries[0] @ shop.catalogue.vectors[books] == pytest.approx(0, abs=1e-6)
    assert contexts.queries[0] @ alone.queries[0] > 0.99
    assert contexts.rows.tolist() == [[shoes]]
