"""Buyers choose by position, taste and price, and by nothing but what they are given."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.synthetic.buyers import (
    USUAL_PRICES,
    Habits,
    Taste,
    click_chances,
    depth_looked,
    draw_taste,
    look,
    places,
    seen_as,
    visitors,
)
from replay.synthetic.shop import Shop, default_shop
from replay.synthetic.visits import Act, Ask, Line, Page, Seen, Step, visit

HABITS = Habits()


_shop = cache(default_shop)


@cache
def where() -> dict[str, int]:
    return places(_shop())


@pytest.fixture(scope="module")
def shop() -> Shop:
    return _shop()


def liker_of(shop: Shop, item: int) -> Taste:
    """A buyer who likes everything about an item."""
    leaf = int(shop.leaf[item])
    return Taste(
        (leaf,), int(shop.brand[item] - leaf * 7) % 40, int(shop.style[item]), int(shop.band[item]), "mobile", "de"
    )


def chances(shop: Shop, taste: Taste, items: list[int], prices: list[float], habits: Habits = HABITS) -> list[float]:
    found = click_chances(shop, taste, np.array(items), np.array(prices), habits)
    return [round(float(one), 4) for one in found]


def page_of(shop: Shop, items: list[int], name: str = "p") -> Page:
    return Page(
        name, tuple(shop.items[at][0] for at in items), tuple(shop.items[at][1].price for at in items), "margins", "b"
    )


def walked(shop: Shop, taste: Taste, lists: list[list[int]], seed: int, bought: list[Line] | None = None) -> list[Step]:
    """All steps of a visit that is shown these lists, one after the other, and then none."""
    steps = visit(shop, where(), taste, HABITS, np.random.default_rng(seed), order_id="o", bought=bought or [])
    found: list[Step] = []
    shown = iter(lists)
    page: Page | None = None
    while True:
        try:
            step = steps.send(page)
        except StopIteration:
            return found
        found.append(step)
        items = next(shown, None) if isinstance(step, Ask) else None
        page = None if items is None else page_of(shop, items, f"p{len(found)}")


def test_what_matches_is_clicked_most_and_what_is_dear_least(shop: Shop) -> None:
    item = 100
    usual = float(USUAL_PRICES[shop.leaf[item]])
    taste = liker_of(shop, item)
    stranger = Taste((int(shop.leaf[item]) + 1,), taste.brand, taste.style, taste.band, "mobile", "de")
    assert chances(shop, taste, [item, item, item], [usual, usual * 2, usual / 2]) == [0.8176, 0.6611, 0.9115]
    assert chances(shop, stranger, [item], [usual]) == [0.3775]
    assert chances(shop, taste, [item], [usual * 2], Habits(price_weight=0.0)) == [0.8176]


def test_an_item_of_another_shop_and_a_price_that_is_none_are_borne(shop: Shop) -> None:
    at, prices = seen_as(places(shop), ["nobodys", shop.items[100][0]], [3.0, None])
    assert at.tolist() == [-1, 100]
    found = click_chances(shop, liker_of(shop, 100), at, prices, HABITS)
    assert [round(float(one), 4) for one in found] == [0.0293, 0.8176]


def test_the_share_that_looks_at_a_position_falls_by_persistence() -> None:
    rng = np.random.default_rng(3)
    depths = Counter(depth_looked(10, HABITS, rng) for _ in range(20_000))
    looked = [sum(count for depth, count in depths.items() if depth >= position) / 20_000 for position in range(1, 11)]
    assert looked == pytest.approx([0.8**at for at in range(10)], abs=0.01)
    assert {depth_looked(10, Habits(persistence=1.0), rng) for _ in range(50)} == {10}
    assert {depth_looked(10, Habits(persistence=0.0), rng) for _ in range(50)} == {1}


def test_the_same_item_is_clicked_less_the_lower_it_stands() -> None:
    rng = np.random.default_rng(5)
    clicks = Counter(place for _ in range(20_000) for place in look(np.full(6, 0.5), HABITS, rng).clicked)
    rates = [clicks[place] / 20_000 for place in range(6)]
    assert rates == pytest.approx([0.5 * 0.8**place for place in range(6)], abs=0.015)
    assert all(after < before for before, after in pairwise(rates))


def test_a_list_that_fits_better_earns_more_clicks(shop: Shop) -> None:
    item = 100
    taste = liker_of(shop, item)
    own = [int(at) for at in shop.shelves[shop.leaf[item]] if at >= 0][:10]
    others = [int(at) for at in shop.shelves[(int(shop.leaf[item]) + 9) % 100] if at >= 0][:10]

    def clicks(items: list[int]) -> int:
        return sum(
            isinstance(step, Act) and step.kind == "view"
            for n in range(400)
            for step in walked(shop, taste, [items], n)
        )

    assert clicks(own) > 3 * clicks(others)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=100), st.integers(0, 2**32))
def test_only_what_was_looked_at_is_clicked_and_only_what_was_clicked_is_taken(rates: list[float], seed: int) -> None:
    found = look(np.array(rates), HABITS, np.random.default_rng(seed))
    assert 1 <= found.depth <= len(rates)
    assert all(place < found.depth for place in found.clicked)
    assert set(found.taken) <= set(found.clicked)
    assert not any(rates[place] == 0.0 for place in found.clicked)
    assert found == look(np.array(rates), HABITS, np.random.default_rng(seed))


@given(st.integers(0, 10_000), st.lists(st.lists(st.integers(0, 5_999), min_size=1, max_size=12), max_size=9))
def test_a_visit_is_in_order_and_the_same_by_its_seed(seed: int, lists: list[list[int]]) -> None:
    shop = _shop()
    taste = draw_taste(np.random.default_rng(seed))
    steps = walked(shop, taste, lists, seed)
    assert steps == walked(shop, taste, lists, seed)
    assert sum(isinstance(step, Ask) for step in steps) <= HABITS.most_pages
    viewed, carted = list[str](), list[str]()
    for before, step in pairwise([None, *steps]):
        if isinstance(step, Seen):
            assert isinstance(before, Ask)
        elif isinstance(step, Ask):
            assert step.item_id is None or step.item_id == viewed[-1]
        elif step is not None and step.kind == "view":
            assert step.line.item_id not in viewed
            assert step.line.page.items[step.line.position - 1] == step.line.item_id
            viewed.append(step.line.item_id)
        elif step is not None and step.kind == "cart":
            assert step.line.item_id == viewed[-1]
            carted.append(step.line.item_id)
    bought = [step.line for step in steps if isinstance(step, Act) and step.kind == "purchase"]
    assert [line.item_id for line in bought] in ([], carted)
    assert all(line.order_id == "o" and 1 <= line.quantity <= 5 for line in bought)
    assert all(line.value == round(line.price * line.quantity, 2) for line in bought)


def test_some_of_what_a_member_bought_comes_back_with_its_order(shop: Shop) -> None:
    page = page_of(shop, [1, 2, 3])
    lines = [Line(item_id, page, at + 1, 10.0, 2, "o1") for at, item_id in enumerate(page.items)]
    back = [step for n in range(1000) for step in walked(shop, draw_taste(np.random.default_rng(n)), [], n, lines)]
    returned = [step.line for step in back if isinstance(step, Act)]
    assert len(returned) == pytest.approx(240, abs=40)
    assert {(line.order_id, line.value) for line in returned} == {("o1", 20.0)}


def test_members_come_again_with_the_same_taste_and_guests_do_not() -> None:
    found = list(visitors(2000, HABITS, seed=1))
    assert found == list(visitors(2000, HABITS, seed=1))
    assert [one.number for one in found] == list(range(2000))
    members = Counter(one.member for one in found if one.member is not None)
    assert members.total() == pytest.approx(800, abs=60)
    assert members.total() / len(members) == pytest.approx(4.0, abs=0.5)
    assert len({(one.member, one.taste) for one in found if one.member is not None}) == len(members)
    assert len({one.taste for one in found if one.member is None}) > 1000


def test_habits_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="expected shares from 0 to 1"):
        Habits(persistence=1.1)
