"""What a scenario decides of a list: filter, value, boosts, pins, bury, limits, shares, diversity, fallback."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.api import Placement
from contracts.ids import item_key
from contracts.scenarios import Scenario
from contracts.users import DoNotShow, Quiz, UserDocument
from rerank.affinities import LEARNT
from rerank.query import Query, Ranked
from rerank.scenarios.compiled import Compiled, ScenarioError, compile_filter, compile_scenario
from rerank.scenarios.fields import FIELDS
from tests.rerank.shop import NOW, Shop, item, session

DAY = 86_400_000


def compiled(document: dict[str, Any], name: str = "deals", **others: dict[str, Any]) -> Compiled:
    bases = {other: Scenario.model_validate(one) for other, one in others.items()}
    return compile_scenario(name, 1, Scenario.model_validate(document), bases.get)


def ask(shop: Shop, document: dict[str, Any] | None, *clicks: str, **fields: Any) -> Ranked:
    """Ask as a visitor of the homepage who clicked these items."""
    scenario = None if document is None else compiled(document)
    query = Query(NOW, session=session(*clicks) if clicks else None, scenario=scenario, **{"limit": 6, **fields})
    return shop.pipeline(random=np.random.default_rng(1)).recommend([query])[0]


def ids(ranked: Ranked) -> list[str]:
    return [one.item_id for one in ranked.items]


def priced_shop() -> Shop:
    """Item number n of each category costs n + 1, and its brand is even or odd."""
    shop = Shop()
    shop.put(
        *(
            item(
                one,
                price=float(int(one.split("-")[1]) + 1),
                brand="even" if int(one.split("-")[1]) % 2 == 0 else "odd",
                supplier=f"supplier-{int(one.split('-')[1]) % 3}",
                margin=0.9 if one == "lamps-9" else 0.1,
                attributes={"promo": one == "books-7"},
            )
            for one in shop.item_ids
        )
    )
    return shop


PRICED = priced_shop()
"""For tests that change nothing of it."""


def test_a_filter_keeps_what_it_is_true_of_and_says_what_each_clause_dropped() -> None:
    answer = ask(priced_shop(), {"filter": 'price > 3 and brand == "odd"'}, "shoes-0", "shoes-1")
    assert all(int(one.split("-")[1]) in (3, 5, 7, 9) for one in ids(answer))
    assert len(ids(answer)) == 6
    named = {name for name in answer.dropped if name.startswith("filter: ")}
    assert named <= {"filter: price > 3", 'filter: brand == "odd"'}
    assert named


def test_a_page_stays_full_under_a_filter_that_leaves_few() -> None:
    answer = ask(priced_shop(), {"filter": "price >= 9"}, "shoes-0")
    assert len(ids(answer)) == 6
    assert {int(one.split("-")[1]) for one in ids(answer)} == {8, 9}


def test_a_request_has_a_filter_of_its_own() -> None:
    shop = priced_shop()
    query = Query(NOW, session=session("shoes-0"), limit=4, filter=compile_filter("price == 5"))
    assert sorted(ids(shop.pipeline().recommend([query])[0])) == ["books-4", "games-4", "lamps-4", "shoes-4"]
    both = Query(
        NOW, limit=4, scenario=compiled({"filter": 'under(category, "shoes")'}), filter=compile_filter("price == 5")
    )
    assert ids(shop.pipeline().recommend([both])[0]) == ["shoes-4"]


@pytest.mark.parametrize(
    "text",
    [
        'price == 5 and not has(attributes.n0) and supplier == "supplier-1"',
        "attributes.promo == false and price == 5 and brand != title and not contains(title, brand)",
        " and ".join(["price == 5"] * 100),
    ],
    ids=["attributes", "texts", "most"],
)
def test_a_filter_of_a_request_keeps_what_the_scenarios_would_and_leaves_no_columns(text: str) -> None:
    shop = priced_shop()
    passing = Query(NOW, session=session("shoes-0"), limit=4, filter=compile_filter(text, passing=True))
    answer = ids(shop.pipeline().recommend([passing])[0])
    assert answer
    assert shop.state.catalogue.fields._columns == {}
    kept = Query(NOW, session=session("shoes-0"), limit=4, filter=compile_filter(text))
    assert answer == ids(shop.pipeline().recommend([kept])[0])


def test_a_filter_reads_session_page_context_and_clock() -> None:
    shop = priced_shop()
    document = {"filter": 'category in session.categories and price <= page.price and context.device == "phone"'}
    asked = {"item_id": "books-3", "context": {"device": "phone"}}
    assert set(ids(ask(shop, document, "shoes-1", **asked))) <= {"shoes-0", "shoes-1", "shoes-2", "shoes-3"}
    assert ids(ask(shop, document, "shoes-1", item_id="books-3")) == []
    assert ids(ask(shop, {"filter": "clock.month == 1"}, "shoes-1")) != []
    assert ids(ask(shop, {"filter": "clock.month == 2"}, "shoes-1")) == []
    assert ids(ask(shop, {"filter": 'clock.season == "winter"'}, "shoes-1")) != []
    assert ids(ask(shop, {"filter": 'clock.season in ["spring", "summer", "autumn"]'}, "shoes-1")) == []


@pytest.mark.parametrize(
    ("condition", "known", "is_true"),
    [
        ("context.hour == 8", {}, True),
        ("context.hour >= 18", {"context": {"hour": 19}}, True),  # where the visitor is
        ("context.hour == 8", {"context": {"hour": 19}}, False),
        ("context.weekday == 5 and context.month == 1", {}, True),
        ('context.season == "winter"', {}, True),
        ('context.season == "summer"', {"context": {"season": "summer"}}, True),  # on the southern half
        ('context.region == "eu"', {"region": "eu"}, True),
        ('context.region == "eu"', {"region": "us"}, False),
        ("context.age < 30", {"age": 20}, True),
        ("context.age < 30", {}, False),
        ('context.device == "phone"', {}, False),
        ("context.hour.minute == 8", {}, False),
    ],
)
def test_a_condition_reads_when_and_where_of_the_context_or_else_of_the_clock_and_the_visitor(
    condition: str, known: dict[str, Any], is_true: bool
) -> None:
    assert bool(ids(ask(priced_shop(), {"filter": condition, "fallback": []}, "shoes-1", **known))) is is_true


def test_a_boost_lifts_what_it_is_true_of_between_its_dates_and_says_why() -> None:
    shop = priced_shop()
    boost = {"if": "attributes.promo", "multiply": 50, "why": "Black Friday", "until": "2027-02-01T00:00:00Z"}
    answer = ask(shop, {"boosts": [boost]}, "books-1", limit=3)
    assert ids(answer)[0] == "books-7"
    assert answer.items[0].reason.startswith("Black Friday; ")
    over = ask(shop, {"boosts": [{**boost, "until": "2027-01-01T00:00:00Z"}]}, "books-1", limit=3)
    assert ids(over) == ids(ask(shop, {"boosts": []}, "books-1", limit=3))


def test_a_value_model_blends_terms_and_explain_shows_them() -> None:
    shop = priced_shop()
    answer = ask(shop, {"value": {"match": 0.1, "margin": 10}}, "lamps-1", explain=True)
    assert ids(answer)[0] == "lamps-9"
    told = answer.explained[0]
    assert told["item_id"] == "lamps-9"
    assert told["terms"]["margin"] == {"value": pytest.approx(0.9), "weight": 10}
    assert told["value"] == pytest.approx(9 + 0.1 * told["terms"]["match"]["value"])
    assert answer.items[0].score == pytest.approx(told["value"])


def test_a_preset_is_a_value_model_by_name() -> None:
    answer = ask(priced_shop(), {"value": "fashion"}, "lamps-1", explain=True)
    assert list(answer.explained[0]["terms"]) == ["match", "trend", "stock", "margin", "fresh", "season"]
    weights = [term["weight"] for term in answer.explained[0]["terms"].values()]
    assert weights == [0.4, 0.2, 0.1, 0.1, 0.1, 0.1]


def test_what_is_popular_can_be_taken_back() -> None:
    shop = priced_shop()
    plain, debiased = (ask(shop, {"popularity_debias": share, "value": {"match": 1}}, limit=10) for share in (0, 1))
    popular = [np.mean([shop.item_ids.index(one) for one in ids(answer)]) for answer in (plain, debiased)]
    assert popular[0] < popular[1]


def test_a_season_counts_for_items_of_now() -> None:
    shop = Shop()
    shop.put(
        *(
            item(one, attributes={"season": "winter" if one == "games-5" else ["summer", "fall"]})
            for one in shop.item_ids
        )
    )
    assert ids(ask(shop, {"value": {"match": 0.01, "season": 1}}, "games-1"))[0] == "games-5"  # NOW is in January


def test_a_pin_stands_at_its_position_unless_a_rule_forbids_it() -> None:
    shop = priced_shop()
    pins = [{"item_id": "lamps-8", "position": 1, "why": "our pick"}, {"item_id": "games-9", "position": 3}]
    answer = ask(shop, {"pins": pins}, "books-1", "lamps-8")
    assert (ids(answer)[0], ids(answer)[2]) == ("lamps-8", "games-9")
    assert (answer.items[0].reason, answer.items[2].reason) == ("our pick", "picked for you")
    assert len(ids(answer)) == len(set(ids(answer))) == 6
    shop.put(item("games-9", stock=0), item("lamps-8", stock=0))
    assert not {"games-9", "lamps-8"} & set(ids(ask(shop, {"pins": pins}, "books-1")))


def test_pins_of_another_time_do_not_count() -> None:
    pin = {"item_id": "lamps-8", "position": 1}
    shop = priced_shop()
    assert ids(ask(shop, {"pins": [{**pin, "until": "2027-01-15T07:59:59Z"}]}, "books-1"))[0] != "lamps-8"
    assert ids(ask(shop, {"pins": [{**pin, "from": "2027-01-15T08:00:00Z"}]}, "books-1"))[0] == "lamps-8"
    assert NOW == 1_800_000_000_000  # 2027-01-15T08:00:00Z


def test_buried_items_come_only_where_nothing_else_is_left() -> None:
    shop = Shop(per_category=1)
    assert ids(ask(shop, {"bury": ["shoes-0"]}, limit=4))[-1] == "shoes-0"
    assert "shoes-0" not in ids(ask(shop, {"bury": ["shoes-0"]}, limit=3))


@pytest.mark.parametrize(
    ("limit", "of"),
    [
        ({"field": "category", "most": 2}, lambda one: one.split("-")[0]),
        ({"field": "brand", "share": 0.5}, lambda one: int(one.split("-")[1]) % 2),
        ({"field": "supplier", "most": 2}, lambda one: int(one.split("-")[1]) % 3),
    ],
    ids=["category", "brand", "supplier"],
)
def test_limits_hold_while_others_can_fill_the_page(limit: dict[str, Any], of: Any) -> None:
    answer = ask(priced_shop(), {"limits": [limit]}, "shoes-1", "shoes-2")
    counts = Counter(of(one) for one in ids(answer))
    assert max(counts.values()) <= limit.get("most", 3)
    assert len(ids(answer)) == 6


def test_a_limit_gives_way_where_nothing_else_is_left() -> None:
    document = {"limits": [{"field": "category", "most": 1}], "filter": 'under(category, "shoes")'}
    assert len(ids(ask(priced_shop(), document, "shoes-1"))) == 6


def supplier_of(item_id: str) -> int:
    return int(item_id.split("-")[1]) % 3


def test_pins_count_in_limits() -> None:
    pins = [{"item_id": "lamps-0", "position": 1}, {"item_id": "games-3", "position": 5}]  # both of supplier-0
    document = {"limits": [{"field": "supplier", "most": 2}], "pins": pins}
    answer = ids(ask(priced_shop(), document, "books-1", "books-2"))
    assert (answer[0], answer[4], len(answer)) == ("lamps-0", "games-3", 6)
    assert Counter(supplier_of(one) for one in answer) == {0: 2, 1: 2, 2: 2}


@settings(max_examples=60, deadline=None)
@given(
    pinned=st.lists(
        st.tuples(st.integers(0, 39), st.integers(1, 6)), max_size=5, unique_by=(lambda p: p[0], lambda p: p[1])
    ),
    most=st.integers(1, 6),
    limit=st.integers(1, 6),
)
def test_pages_with_pins_and_limits_are_those_filled_one_by_one(
    pinned: list[tuple[int, int]], most: int, limit: int
) -> None:
    shop = PRICED
    limits = [{"field": "supplier", "most": most}]
    pins = [{"item_id": shop.item_ids[at], "position": position} for at, position in pinned]
    ranked = ids(ask(shop, {"limits": [], "fallback": []}, "books-1", limit=40))
    held = {pin["position"]: str(pin["item_id"]) for pin in pins if int(str(pin["position"])) <= limit}
    rest, room, over = list[str](), limit - len(held), list[str]()
    for one in [one for one in ranked if one not in held.values()]:
        alike = sum(supplier_of(other) == supplier_of(one) for other in [*held.values(), *rest])
        (rest if alike < most and len(rest) < room else over).append(one)
    expected = [*rest, *over][:room]
    for position in sorted(held, key=lambda one: int(str(one))):
        expected.insert(int(str(position)) - 1, held[position])
    document = {"limits": limits, "pins": pins, "fallback": []}
    assert ids(ask(shop, document, "books-1", limit=limit)) == expected


def test_diversity_parts_the_page_from_its_pins() -> None:
    shop = priced_shop()
    pins = [{"item_id": one, "position": at} for at, one in ((1, "shoes-3"), (2, "shoes-4"), (3, "shoes-5"))]
    alike, mixed = (
        Counter(one.split("-")[0] for one in ids(ask(shop, {"diversity": 0.7, "limits": [], **more}, "shoes-1")))
        for more in ({}, {"pins": pins})
    )
    assert alike["shoes"] >= 1
    assert mixed["shoes"] == 3  # the pins alone


def test_diversity_parts_what_is_alike() -> None:
    shop = priced_shop()
    alike, mixed = (
        len({one.split("-")[0] for one in ids(ask(shop, {"diversity": d, "limits": []}, "shoes-1", "shoes-2"))})
        for d in (0.0, 0.7)
    )
    assert alike < mixed


def test_a_share_of_the_page_is_for_new_items() -> None:
    shop = Shop()
    new = {"books-9", "lamps-9", "games-9", "shoes-9"}
    shop.put(*(item(one, created_ms=NOW - (DAY if one in new else 300 * DAY)) for one in shop.item_ids))
    page = ids(ask(shop, {"new_share": 0.5}, "shoes-1"))
    assert len(new & set(page)) >= 3 or len(new & set(page)) == len(new)
    assert set(page[1::2]) <= new  # every second place


def test_a_share_for_small_suppliers_is_answered_where_nobody_was_shown_anything() -> None:
    assert len(ids(ask(priced_shop(), {"small_supplier_share": 0.5}, "shoes-1"))) > 0


def test_exploration_puts_chance_into_some_places() -> None:
    shop = priced_shop()
    pages = {tuple(ids(ask(shop, {"explore": share, "limits": []}, "shoes-1"))) for share in (0.0, 0.5)}
    assert len(pages) == 2


def test_a_fallback_says_what_fills_a_page() -> None:
    shop = Shop()
    shop.put(item("lamps-99", created_ms=NOW - 1000))
    nothing = {"nearest": 0, "covisited": 0, "trending": 0, "recent": 0, "new": 0}
    document = {"filter": 'under(category, "lamps")', "sources": nothing}
    newest, trending = (
        ask(shop, {**document, "fallback": [fallback]}, "shoes-1") for fallback in ("newest", "trending")
    )
    assert (ids(newest)[0], ids(trending)[0]) == ("lamps-99", "lamps-0")
    assert len(ids(newest)) == len(ids(trending)) == 6


def test_no_covisited_candidates_means_none_of_those_of_late_either() -> None:
    assert compiled({"sources": {"covisited": 0}}).sources == {"covisit": 0, "covisit_recent": 0}
    assert compiled({"sources": {"covisited": 5}}).sources == {"covisit": 5}
    assert compiled({"sources": {"nearest": 0}}).sources == {"nearest": 0}


def test_a_scenario_stands_on_its_base() -> None:
    deals = compiled({"base": "cart", "filter": "price < 5"}, sale={"boosts": []})
    assert deals.placement is Placement.CART
    on_top = compiled(
        {"base": "sale", "diversity": 0.5}, sale={"base": "email", "filter": "price < 5", "diversity": 0.1}
    )
    assert (on_top.placement, on_top.scenario.diversity, on_top.filter.clauses[0].text) == (
        Placement.EMAIL,
        0.5,
        "price < 5",
    )
    assert compiled({"filter": "price < 5"}, "search").placement is Placement.SEARCH
    assert compiled({}).placement is Placement.HOMEPAGE


@pytest.mark.parametrize(
    ("document", "pointer", "said"),
    [
        ({"filter": "pric < 5"}, "/filter", "line 1, column 1: no field is called pric: did you mean price?"),
        ({"boosts": [{"if": "price <", "multiply": 2}]}, "/boosts/0/if", "line 1, column 8: expected"),
        ({"base": "nowhere"}, "/base", "there is no scenario 'nowhere'"),
        ({"base": "a"}, "/base", "no circle"),
    ],
)
def test_what_cannot_be_applied_is_said_with_its_pointer(document: dict[str, Any], pointer: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        compiled(document, a={"base": "b"}, b={"base": "a"})
    assert caught.value.pointer == pointer
    assert said in caught.value.detail


@pytest.mark.parametrize(
    "document",
    [
        {"value": {"match": "much"}},
        {"value": {"match": float("nan")}},
        {"diversity": 2},
        {"pins": [{"item_id": "a", "position": 1}, {"item_id": "b", "position": 1}]},
        {"pins": [{"item_id": "a", "position": 1}, {"item_id": "a", "position": 2, "until": "2027-01-01"}]},
        {"pins": [{"item_id": "a", "position": 0}]},
        {"boosts": [{"if": "true", "multiply": 0}]},
        {"boosts": [{"if": "true", "multiply": 2, "from": "2027-01-02", "until": "2027-01-01"}]},
        {"limits": [{"field": "brand"}]},
        {"limits": [{"field": "brand", "share": 0.5, "most": 2}]},
        {"fatigue": {"shown": 5, "within": "P40D"}},
        {"nonsense": 1},
        {"fields": [""]},
    ],
    ids=str,
)
def test_a_document_that_says_what_cannot_be_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Scenario.model_validate(document)


def test_pins_that_follow_each_other_share_a_position() -> None:
    pins = [
        {"item_id": "a", "position": 1, "until": "2027-01-01"},
        {"item_id": "b", "position": 1, "from": "2027-01-01"},
    ]
    assert len(Scenario.model_validate({"pins": pins}).pins or []) == 2


def test_scenarios_and_plain_queries_share_a_batch() -> None:
    shop = priced_shop()
    queries = [
        Query(NOW, session=session("shoes-1"), limit=4),
        Query(NOW, session=session("shoes-1"), limit=4, scenario=compiled({"filter": "price > 5"})),
        Query(NOW, session=session("shoes-1"), limit=4, scenario=compiled({"sources": {"nearest": 5}})),
    ]
    together = shop.pipeline().recommend(queries)
    alone = [shop.pipeline().recommend([query])[0] for query in queries]
    assert [ids(answer) for answer in together] == [ids(answer) for answer in alone]
    assert [round(one.score, 4) for one in together[0].items] == [round(one.score, 4) for one in alone[0].items]


def test_lists_of_one_page_share_no_item_and_are_full() -> None:
    shop = priced_shop()
    visitor = session("shoes-1", "books-2")
    lists = [
        Query(NOW, session=visitor, limit=8),
        Query(NOW, session=visitor, limit=8, scenario=compiled({"pins": [{"item_id": "lamps-8", "position": 1}]})),
        Query(NOW, session=visitor, limit=4, scenario=compiled({"filter": "price > 3", "limits": []})),
        Query(NOW, session=visitor, limit=8),
    ]
    answers = shop.pipeline().recommend_apart(lists)
    shown = [one for answer in answers for one in ids(answer)]
    assert [len(ids(answer)) for answer in answers] == [8, 8, 4, 8]
    assert len(shown) == len(set(shown))
    assert ids(answers[0]) == ids(shop.pipeline().recommend(lists[:1])[0])
    assert ids(answers[1])[0] == "lamps-8"
    sized = [*lists[:2], replace(lists[2], scenario=compiled({"sources": {"nearest": 5}}))]
    shown = [one for answer in shop.pipeline().recommend_apart(sized) for one in ids(answer)]
    assert len(shown) == len(set(shown)) == 20


def test_a_pin_that_an_earlier_list_shows_is_left_out() -> None:
    shop = priced_shop()
    pinned = compiled({"pins": [{"item_id": "lamps-8", "position": 1}]})
    answers = shop.pipeline().recommend_apart([Query(NOW, limit=4, scenario=pinned)] * 2)
    assert ids(answers[0])[0] == "lamps-8"
    assert "lamps-8" not in ids(answers[1])


def test_what_a_visitor_is_tired_of_comes_last_and_what_was_shown_before_not_at_all() -> None:
    shop = Shop(per_category=1)
    tired = Query(
        NOW, limit=4, scenario=compiled({"fatigue": {"shown": 5, "within": "P1D"}}), tired_of=(item_key("shoes-0"),)
    )
    assert ids(shop.pipeline().recommend([tired])[0])[-1] == "shoes-0"
    before = Query(NOW, limit=4, shown_before=(item_key("shoes-0"),))
    assert sorted(ids(shop.pipeline().recommend([before])[0])) == ["books-0", "games-0", "lamps-0"]


def test_every_field_of_a_user_can_be_named() -> None:
    inside = {"quiz": Quiz, "do_not_show": DoNotShow}
    plain = set(UserDocument.model_fields) - {*inside, "sizes", "attributes", "consent"}
    parts = {f"{name}.{part}" for name, model in inside.items() for part in model.model_fields}
    assert {name.removeprefix("user.") for name in FIELDS.named if name.startswith("user.")} == plain | parts | set(
        LEARNT
    )
    compile_filter('user.sizes.shoes == "42" and user.attributes.club == "gold" and "x" in user.quiz.tags')


@pytest.mark.parametrize("passing", [True, False])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user.nope == 3", "no field is called user.nope: there are user.age, user.brands"),
        ('"a" in user.style_tag', "no field is called user.style_tag: did you mean user.style_tags?"),
        ('user.style_tags == "outdoor"', "a list of texts cannot be compared by =="),
        ('"x" in user.clicks', "expected a list of texts, got a number"),
        ('user.age > "2026-01-01"', "expected a number, got text"),
        ("user.attributes > 3", "no field is called user.attributes"),
        ('"x" in user.quiz', "no field is called user.quiz"),
    ],
)
def test_names_and_types_of_users_are_checked(text: str, said: str, passing: bool) -> None:
    with pytest.raises(ScenarioError) as caught:
        compile_filter(text, passing=passing)
    assert said in caught.value.detail
