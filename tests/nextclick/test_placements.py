"""What the placements mean in the synthetic shop, with the models that are shipped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from contracts.api import ItemGroup, Placement
from nextclick.bench.shop_pipeline import SyntheticShop, synthetic_shop
from rerank.pipeline import Pipeline
from rerank.query import PipelineSettings, Query, RankedItem

VISITORS = 40
LIMIT = 10


@pytest.fixture(scope="module")
def served() -> SyntheticShop:
    return synthetic_shop(3_000)


@pytest.fixture(scope="module")
def pipeline(served: SyntheticShop) -> Pipeline:
    return served.pipeline()


def visitors(served: SyntheticShop) -> list[list[tuple[int, str]]]:
    """Events of visitors who looked at two items of each of three shelves."""
    random, shop = np.random.default_rng(4), served.shop
    firsts = random.integers(len(shop.items), size=(VISITORS, 3)).tolist()
    return [[(place, "view") for one in three for place in (one, int(shop.alike[one, 0]))] for three in firsts]


def mean_of(counts: Callable[[list[tuple[int, str]]], int], served: SyntheticShop) -> float:
    return float(np.mean([counts(events) for events in visitors(served)]))


def ask(served: SyntheticShop, pipeline: Pipeline, placement: Placement, **asked: object) -> list[RankedItem]:
    [answer] = pipeline.recommend([Query(served.now_ms, placement, **{"limit": LIMIT, **asked})])  # type: ignore[arg-type]
    return answer.items


def places(served: SyntheticShop, items: list[RankedItem]) -> np.ndarray:
    known = served.places()
    return np.array([known[item.item_id] for item in items])


@pytest.mark.slow
def test_a_homepage_answers_the_session_and_not_the_last_shelf_alone(served: SyntheticShop, pipeline: Pipeline) -> None:
    shop = served.shop

    def shelves(placement: Placement) -> tuple[float, float]:
        def newest(events: list[tuple[int, str]]) -> int:
            found = places(served, ask(served, pipeline, placement, session=served.session(*events)))
            return int((shop.leaf[found] == shop.leaf[events[-1][0]]).sum())

        def earlier(events: list[tuple[int, str]]) -> int:
            found = places(served, ask(served, pipeline, placement, session=served.session(*events)))
            return int(np.isin(shop.leaf[found], [shop.leaf[place] for place, _ in events[:4]]).sum())

        return mean_of(newest, served), mean_of(earlier, served)

    home, plain = shelves(Placement.HOMEPAGE), shelves(Placement.EMAIL)
    assert home[0] <= LIMIT / 2
    assert home[1] > plain[1] + 1


def test_a_product_page_is_for_the_need_of_its_item_and_shows_apart_what_goes_with_it(
    served: SyntheticShop, pipeline: Pipeline
) -> None:
    shop = served.shop
    alike, apart = [], []
    for events in visitors(served):
        page = events[0][0]
        session = served.session(*events)
        items = ask(served, pipeline, Placement.PRODUCT, session=session, item_id=shop.items[page][0])
        leaves = shop.leaf[places(served, items)]
        of_group = {group: [at for at, item in enumerate(items) if item.group is group] for group in ItemGroup}
        assert (leaves[of_group[ItemGroup.ALIKE]] == shop.leaf[page]).all()
        assert not (leaves[of_group[ItemGroup.GOES_WITH]] == shop.leaf[page]).any()
        alike.append(int((leaves[:6] == shop.leaf[page]).sum()))
        apart.append(len(of_group[ItemGroup.GOES_WITH]))
    assert np.mean(alike) > 5
    assert np.mean(apart) > 1


def test_a_cart_page_holds_what_is_bought_together_with_the_whole_cart(
    served: SyntheticShop, pipeline: Pipeline
) -> None:
    def together(placement: Placement) -> float:
        def count(events: list[tuple[int, str]]) -> int:
            cart = [events[0][0], events[2][0]]
            session = served.session(*events, *((place, "cart") for place in cart), events[-1])
            found = places(served, ask(served, pipeline, placement, session=session))
            assert not np.isin(found, cart).any()
            return int(np.isin(found, served.shop.companions[cart]).sum())

        return mean_of(count, served)

    assert together(Placement.CART) > 2 * together(Placement.HOMEPAGE)


def test_search_keeps_the_engines_order_and_lets_the_visitor_count(served: SyntheticShop, pipeline: Pipeline) -> None:
    shop, random = served.shop, np.random.default_rng(8)
    trusting = served.pipeline(PipelineSettings(search_prior=10))
    moved_up, kept = [], []
    for events in visitors(served):
        wanted = int(shop.alike[events[-1][0], 1])
        found = [*random.choice(len(shop.items), 19, replace=False).tolist(), wanted]
        given = tuple(dict.fromkeys(shop.items[place][0] for place in found))
        asked = {"candidates": given, "limit": 20}
        unknown = [item.item_id for item in ask(served, pipeline, Placement.SEARCH, **asked)]
        assert unknown == [name for name in given if name in unknown]
        session = served.session(*events)
        for one, to in ((pipeline, moved_up), (trusting, kept)):
            names = [item.item_id for item in ask(served, one, Placement.SEARCH, session=session, **asked)]
            to.append(names.index(shop.items[wanted][0]) if shop.items[wanted][0] in names else 19)
    assert np.median(moved_up) < 6
    assert np.median(kept) > 12
