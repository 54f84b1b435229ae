"""The synthetic shop, with visitors of two regions whose tastes differ: each gets its own before the first click."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from contracts.events import Event
from nextclick.bench.cold_start import REGIONS, Counted, hits, with_regions
from replay.synthetic.shop import Shop, make_shop
from replay.synthetic.shoppers import shoppers
from rerank.pipeline import Query
from retrieval.groups import groups_of

VISITS = 3000


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(np.random.default_rng(5), 600)


def visits(shop: Shop, bias: float) -> list[Event]:
    rng = np.random.default_rng(6)
    return with_regions(shop, list(shoppers(shop, VISITS, rng, name="cold")), bias, rng)


def share_of_own(shop: Shop, page: Sequence[str], own: int) -> float:
    """Return how much of a page is of the categories that a region comes for."""
    category = {item_id: item.category for item_id, item in shop.items}
    half = {path: at % 2 for at, path in enumerate(sorted(set(category.values())))}
    return sum(half[category[item_id]] == own for item_id in page) / len(page)


def test_each_region_gets_its_own_popular_items_without_a_click(shop: Shop) -> None:
    events, counted = visits(shop, 0.9), Counted(shop)
    counted.take(events)
    queries = [Query(events[-1].ts, limit=20, groups=groups_of(region)) for region in REGIONS]
    both = Query(events[-1].ts, limit=20)
    north, south, all_visitors = counted.pipeline.recommend([*queries, both])

    assert (north.cold_start, south.cold_start, all_visitors.cold_start) == ("popular_here", "popular_here", "popular")
    pages = [[one.item_id for one in answer.items] for answer in (north, south, all_visitors)]
    assert [len(page) for page in pages] == [20, 20, 20]
    assert share_of_own(shop, pages[2], 0) == 0.8  # most of what all visitors click is of the north's half
    assert share_of_own(shop, pages[0], 0) >= 0.8
    assert share_of_own(shop, pages[1], 1) >= 0.5


def test_where_regions_differ_more_first_clicks_are_met(shop: Shop) -> None:
    ranks, _ = hits(shop, visits(shop, 0.9))
    here, anywhere = (ranks > 0).mean(axis=0)
    assert len(ranks) > 1000
    assert here > anywhere + 0.01, (here, anywhere)
