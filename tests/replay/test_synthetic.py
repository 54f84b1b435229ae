"""The synthetic shop: believable, seeded, fast, and with something to learn in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from contracts.events import Event, parse_event
from contracts.items import Item
from eventlog.files import read_events, read_items
from replay.synthetic.leanings import Leanings
from replay.synthetic.shoppers import DAY_MS, FIRST_DAY_MS, Shop, Tastes, default_shop, make_shop, shoppers, write_shop
from replay.synthetic.words import DEVICES


@pytest.fixture(scope="module")
def shop() -> Shop:
    return default_shop()


@pytest.fixture(scope="module")
def events(shop: Shop) -> list[Event]:
    return list(shoppers(shop, 4_000, np.random.default_rng(1)))


def sessions_of(events: list[Event]) -> dict[str, list[Event]]:
    sessions: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        sessions[event.session_id].append(event)
    return sessions


def test_the_default_shop_is_the_one_that_the_artifacts_were_trained_for(shop: Shop) -> None:
    ids = [item_id for item_id, _ in shop.items]
    assert (len(shop), len(set(ids))) == (6_000, 6_000)
    assert ids[:2] == ["tents-1", "tents-2"]
    assert dict(shop.items)["tents-1"].title == "Juniper Bolt premium handmade tent"
    assert dict(shop.items)["tents-1"].price == 378.21


def test_the_same_seed_gives_the_same_shop_and_shoppers(shop: Shop, events: list[Event]) -> None:
    assert default_shop().items == shop.items
    assert list(shoppers(shop, 50, np.random.default_rng(3))) == list(shoppers(shop, 50, np.random.default_rng(3)))
    assert list(shoppers(shop, 50, np.random.default_rng(3))) != list(shoppers(shop, 50, np.random.default_rng(4)))


def test_items_are_complete_and_valid(shop: Shop) -> None:
    for _, item in shop.items[::50]:
        assert Item.model_validate(item.model_dump()) == item
        assert item.category.count("/") == 2
        assert item.price > 0
    found = [item for _, item in shop.items]
    assert all(item.description and item.brand and item.supplier and item.margin is not None for item in found)
    assert 100 < sum(item.stock == 0 for item in found) < 500
    assert 200 < sum(item.regions is not None for item in found) < 800
    assert {item.min_age for item in found} == {None, 18}
    assert all(item.min_age == 18 for item in found if item.category == "food/cellar/gins")


def test_events_are_valid_in_time_order_and_name_items_of_the_shop(shop: Shop, events: list[Event]) -> None:
    known = dict(shop.items)
    assert [event.ts for event in events] == sorted(event.ts for event in events)
    assert len({event.event_id for event in events}) == len(events)
    for event in events[::40]:
        assert parse_event(event.model_dump(exclude_none=True), now_ms=FIRST_DAY_MS + 30 * DAY_MS) == event
        assert event.item_id in known
    assert events[0].ts >= FIRST_DAY_MS
    assert events[-1].ts < FIRST_DAY_MS + 8 * DAY_MS


def test_nobody_clicks_what_is_not_sold_in_their_region(shop: Shop, events: list[Event]) -> None:
    known = dict(shop.items)
    for event in events:
        assert event.item_id is not None
        assert event.context is not None
        regions = known[event.item_id].regions
        assert regions is None or event.context["region"] in regions


def test_a_session_mostly_stays_in_its_category(shop: Shop, events: list[Event]) -> None:
    known = dict(shop.items)
    same, moves = 0, 0
    for session in sessions_of(events).values():
        for before, after in pairwise(session):
            moves += 1
            same += known[str(before.item_id)].category == known[str(after.item_id)].category
    assert 0.6 < same / moves < 0.95


def test_every_session_has_at_least_two_clicks_and_some_buy_what_was_in_the_cart(events: list[Event]) -> None:
    sessions = sessions_of(events)
    assert len(sessions) == 4_000
    assert min(len(session) for session in sessions.values()) == 2
    kinds = Counter(event.type for event in events)
    assert kinds["view"] > 5 * kinds["cart"] > 5 * kinds["purchase"] > 0
    for session in sessions.values():
        in_cart = set()
        for event in session:
            if event.type == "cart":
                in_cart.add(event.item_id)
            elif event.type == "purchase":
                assert event.item_id in in_cart
                assert event.value is not None


def test_popularity_is_skewed_and_changes_with_time(shop: Shop) -> None:
    events = list(shoppers(shop, 8_000, np.random.default_rng(2)))
    counts = Counter(event.item_id for event in events)
    top_tenth = sum(count for _, count in counts.most_common(600))
    assert 0.35 < top_tenth / len(events) < 0.8
    halves = [
        Counter(e.item_id for e in events if (e.ts < FIRST_DAY_MS + 3.5 * DAY_MS) == first) for first in (True, False)
    ]
    popular = {item for item, _ in halves[0].most_common(100)}
    assert 20 < len(popular & {item for item, _ in halves[1].most_common(100)}) < 95


@pytest.mark.slow
def test_items_looked_at_together_in_one_week_are_looked_at_together_in_the_next(shop: Shop) -> None:
    def pairs(seed: int) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for session in sessions_of(list(shoppers(shop, 8_000, np.random.default_rng(seed)))).values():
            ids = [str(event.item_id) for event in session]
            found.update((a, b) for a, b in pairwise(ids) if a != b)
        return found

    first, second = pairs(5), pairs(6)
    strong = [pair for pair, count in first.items() if count >= 5]
    assert len(strong) > 100
    assert sum(second[pair] > 0 for pair in strong) / len(strong) > 0.8


def test_two_calls_with_different_names_share_no_ids(shop: Shop) -> None:
    rng = np.random.default_rng(0)
    one, two = list(shoppers(shop, 20, rng, name="a")), list(shoppers(shop, 20, rng, name="b"))
    assert not {e.event_id for e in one} & {e.event_id for e in two}
    assert not {e.session_id for e in one} & {e.session_id for e in two}


def test_visits_can_be_squeezed_into_minutes(shop: Shop) -> None:
    events = list(shoppers(shop, 100, np.random.default_rng(0), start_ms=1_000_000, span_ms=60_000))
    firsts = [session[0].ts for session in sessions_of(events).values()]
    assert min(firsts) >= 1_000_000
    assert max(firsts) < 1_060_000


def test_a_small_shop_works_and_one_with_fewer_items_than_categories_is_refused() -> None:
    small = make_shop(np.random.default_rng(0), items=200)
    assert len(list(shoppers(small, 30, np.random.default_rng(0)))) > 60
    assert list(shoppers(small, 0, np.random.default_rng(0))) == []
    with pytest.raises(ValueError, match="at least 118 items"):
        make_shop(np.random.default_rng(0), items=50)


def test_a_written_shop_reads_back(shop: Shop, events: list[Event], tmp_path: Path) -> None:
    header = write_shop(shop, events, tmp_path)
    assert header.events == len(events)
    assert header.sessions == 4_000
    assert list(read_items(tmp_path / "items.jsonl.zst")) == list(shop.items)
    assert list(read_events(tmp_path / "events.jsonl.zst")) == events


def test_thousands_of_visitors_leave_tens_of_thousands_of_events() -> None:
    assert sum(1 for _ in shoppers(default_shop(), 8_500, np.random.default_rng(0))) > 45_000


def test_a_visitor_who_signed_in_keeps_a_taste_from_visit_to_visit(shop: Shop) -> None:
    place = {item_id: at for at, (item_id, _) in enumerate(shop.items)}

    def alike(tastes: Tastes) -> float:
        """Share of two visits of a visitor, one after the other, that begin in the same style."""
        begun: dict[str, list[int]] = {}
        for session in sessions_of(list(shoppers(shop, 2_000, np.random.default_rng(9), tastes=tastes))).values():
            if session[0].user_id is not None:
                begun.setdefault(session[0].user_id, []).append(int(shop.style[place[str(session[0].item_id)]]))
        pairs = [one == two for styles in begun.values() for one, two in pairwise(styles)]
        assert len(pairs) > 700
        return float(np.mean(pairs))

    assert alike(Tastes(200, share=1.0)) > 1.5 * alike(Tastes(200, share=0.0))


def test_without_tastes_the_shoppers_are_those_of_before(shop: Shop) -> None:
    first = next(shoppers(shop, 50, np.random.default_rng(3)))
    assert (first.session_id, first.user_id, first.item_id) == ("shopper-s20", "shopper-u23", "cycling-shorts-52")


def test_a_share_of_tastes_over_1_is_refused() -> None:
    with pytest.raises(ValueError, match="a share from 0 to 1, got Tastes"):
        Tastes(5, share=1.5)


def test_with_leanings_a_device_has_items_of_its_own(shop: Shop) -> None:
    def on_phones(leanings: Leanings | None) -> float:
        """Share of the clicks on items that phones lean to which phones make."""
        lean = Leanings(device=1.0).of(len(shop))
        place = {item_id: at for at, (item_id, _) in enumerate(shop.items)}
        visits = shoppers(shop, 300, np.random.default_rng(4), leanings=leanings)
        made = [
            one.context["device"] == DEVICES[0]
            for one in visits
            if one.context is not None and lean.device[place[str(one.item_id)]] == 0
        ]
        return float(np.mean(made))

    assert on_phones(Leanings(device=3.0)) > on_phones(None) + 0.1
