"""Groups of visitors: how they are named, how they are counted, and what is popular in them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import decode_trend
from contracts.events import EventCode
from contracts.ids import ItemKey, item_key
from retrieval.group_lifts import PRIOR_CLICKS
from retrieval.groups import Groups, are_groups, groups_in, groups_of
from retrieval.popular import Popular, PopularLists, popular_in
from retrieval.trend_columns import TrendColumns
from retrieval.trend_counts import TrendCounts
from retrieval.trend_updates import updates_of
from retrieval.trends import CountedClick, TrendRules
from tests.rerank.shop import NOW, Shop, item

NORTH, SOUTH = groups_of("north")[0], groups_of("south")[0]


def test_region_device_and_age_band_name_groups() -> None:
    assert groups_of() == groups_in({}) == groups_in(None) == groups_in({"region": 3, "device": "", "age": True}) == ()
    assert groups_of(" EU ") == groups_of("eu") != groups_of(device="eu")
    assert groups_of(age=25) == groups_of(age=34.9) != groups_of(age=35)
    assert groups_of(age=0) == groups_of(age=12) != groups_of(age=13)
    assert groups_in({"region": "eu", "device": "phone", "age": 30, "dwell_ms": 9}) == (
        *groups_of("eu"),
        *groups_of(device="phone"),
        *groups_of(age=30),
    )
    assert groups_of(region="e" * 65) == groups_of(age=151) == groups_of(age=-1) == groups_of(age=float("nan")) == ()


@given(st.text(min_size=1, max_size=64), st.integers(0, 150))
def test_every_group_is_told_from_items(region: str, age: int) -> None:
    assert are_groups(np.array(groups_of(region, region, age), np.uint64)).tolist() == [True] * 3


def test_items_are_no_groups() -> None:
    keys = np.array([item_key(f"item-{number}") for number in range(10_000)], np.uint64)
    assert not are_groups(keys).any()


def clicks_of(counts: dict[str, float], groups: Groups, first: int = 0) -> Iterable[CountedClick]:
    """Return so many clicks on each item by visitors of these groups, all at NOW."""
    for name, count in counts.items():
        for at in range(int(count)):
            yield CountedClick(NOW, item_key(name), name, visitor=first + at, groups=groups)


def columns_of(*clicks: Iterable[CountedClick]) -> TrendColumns:
    """Return what a gateway holds once these clicks were counted."""
    counts, columns = TrendCounts(TrendRules()), TrendColumns()
    counts.apply(updates_of([click for some in clicks for click in some]))
    rows = counts.changed_rows()
    columns.apply_rows(list(zip(rows.keys.tolist(), rows.encoded(), strict=True)))
    return columns


def test_a_group_counts_its_clicks_and_what_it_clicked() -> None:
    counts = TrendCounts(TrendRules())
    click = CountedClick(NOW, item_key("a"), "a", EventCode.CART, groups=(NORTH, SOUTH))

    first = counts.apply(updates_of([click, click._replace(item=item_key("b"), groups=(NORTH,))]))

    assert first.tolist() == [0, 1, 2, 4]  # both items and both groups
    rows = counts.rows(np.array([NORTH, SOUTH, item_key("a")], np.uint64))
    north, south, a = map(decode_trend, rows.encoded())
    assert (north.popularity, north.views, north.origin_counts) == (2.0, 0.0, (0.0, 0.0, 0.0, 0.0))
    assert sorted(north.neighbours.tolist()) == sorted([item_key("a"), item_key("b")])
    assert north.weights.tolist() == [[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]
    assert (south.popularity, south.neighbours.tolist()) == (1.0, [item_key("a")])
    assert (a.popularity, a.origin_counts, a.neighbours.tolist()) == (1.0, (1.0, 0.0, 0.0, 0.0), [])


def test_a_group_never_trends_and_counts_for_no_total() -> None:
    columns = columns_of(clicks_of({"a": 3, "b": 1}, (NORTH,)))

    assert columns.trending(NOW, 10).tolist() == columns.recent(NOW, 10).tolist() == [item_key("a"), item_key("b")]
    shares = columns.click_shares(np.array([item_key("a"), item_key("b"), item_key("c")], np.uint64), NOW)
    assert shares.tolist() == pytest.approx([0.75, 0.25, 0.0])
    assert columns.transitions_per_item == 0.0


def names(shop: Shop, popular: Popular | None) -> list[str]:
    assert popular is not None
    return [shop.catalogue.item_ids[row] for row in popular.rows.tolist()]


def popular_with(shop: Shop, columns: TrendColumns, *groups: ItemKey, k: int = 20) -> Popular | None:
    return popular_in(groups, columns, shop.catalogue, NOW, k)


def test_two_regions_get_what_each_of_them_clicks() -> None:
    shop = Shop()
    columns = columns_of(
        clicks_of({"shoes-1": 400, "books-1": 100}, (NORTH,)), clicks_of({"games-1": 300, "books-1": 200}, (SOUTH,))
    )
    north, south = popular_with(shop, columns, NORTH), popular_with(shop, columns, SOUTH)

    assert names(shop, north) == ["shoes-1", "books-1", "games-1"]
    assert names(shop, south) == ["games-1", "books-1", "shoes-1"]
    assert north is not None
    assert [shop.catalogue.item_ids[row] for row in north.liked] == ["shoes-1"]
    assert popular_with(shop, columns) is None
    assert popular_with(shop, columns, groups_of("east")[0]) is None


def test_a_small_group_shrinks_towards_all_visitors() -> None:
    shop = Shop()
    rest = {"shoes-1": 600, "books-1": 300, "games-1": 10}

    few = columns_of(clicks_of(rest, ()), clicks_of({"books-1": 3}, (NORTH,)))
    assert names(shop, popular_with(shop, few, NORTH)) == ["shoes-1", "books-1", "games-1"]
    more = columns_of(clicks_of(rest, ()), clicks_of({"books-1": 60}, (NORTH,)))
    assert names(shop, popular_with(shop, more, NORTH)) == ["books-1", "shoes-1", "games-1"]
    assert PRIOR_CLICKS == 20.0


def test_a_list_is_made_anew_once_a_second() -> None:
    shop = Shop()
    columns = columns_of(clicks_of({"shoes-1": 300}, (NORTH,)))
    lists = PopularLists(columns, shop.catalogue)
    before = lists.of((NORTH,), NOW)
    rows = TrendCounts(TrendRules())
    rows.apply(updates_of(list(clicks_of({"games-1": 500}, (NORTH,)))))
    changed = rows.changed_rows()
    columns.apply_rows(list(zip(changed.keys.tolist(), changed.encoded(), strict=True)))

    assert lists.of((NORTH,), NOW + 999) is before
    assert names(shop, lists.of((NORTH,), NOW + 1000))[0] == "games-1"
    assert lists.of((SOUTH,), NOW + 1000) is None


def test_a_visitor_of_two_groups_gets_what_both_change() -> None:
    shop, [phone] = Shop(), groups_of(device="phone")
    columns = columns_of(
        clicks_of({"shoes-1": 300, "books-1": 300}, (NORTH,)),
        clicks_of({"books-2": 300, "games-1": 300}, (phone,)),
        clicks_of({"books-3": 200}, (NORTH, phone)),
    )
    assert names(shop, popular_with(shop, columns, NORTH, phone))[0] == "books-3"


def test_categories_take_turns_where_clicks_are_near_each_other() -> None:
    shop = Shop()
    columns = columns_of(clicks_of({"shoes-1": 100, "shoes-2": 99, "shoes-3": 98, "games-1": 97}, (NORTH,)))
    assert names(shop, popular_with(shop, columns, NORTH)) == ["shoes-1", "games-1", "shoes-2", "shoes-3"]


def test_an_item_that_a_group_has_not_met_goes_by_its_category() -> None:
    shop = Shop()
    rest = clicks_of({"games-2": 100, "lamps-2": 101, "books-1": 300}, ())
    columns = columns_of(rest, clicks_of({"games-1": 90}, (NORTH,)))
    order = names(shop, popular_with(shop, columns, NORTH))
    assert order == ["games-1", "games-2", "lamps-2", "books-1"]


def test_items_that_are_gone_are_passed_by() -> None:
    shop = Shop()
    columns = columns_of(clicks_of({"shoes-1": 100, "games-1": 90, "nowhere-1": 300}, (NORTH,)))
    shop.put((item("shoes-1")[0], None))
    assert names(shop, popular_with(shop, columns, NORTH)) == ["games-1"]


def test_of_a_long_row_what_is_not_named_is_taken_to_be_as_with_all_visitors_or_less() -> None:
    shop = Shop(per_category=25)
    rest = clicks_of({"games-24": 200}, ())
    columns = columns_of(rest, clicks_of({name: 100 - at for at, name in enumerate(shop.item_ids[:60])}, (NORTH,)))
    order = names(shop, popular_with(shop, columns, NORTH, k=100))
    assert len(order) == 61
    assert order[0] == "shoes-0"
    assert order.index("games-24") > 10  # 200 of 4,430 clicks, but the group's row names none of them
