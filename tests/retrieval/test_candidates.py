"""The union of the sources, each with its own number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contracts.ids import item_key
from contracts.sessions import CLICK
from retrieval.candidates import Candidates, Contexts, gather
from retrieval.sources import SourceSettings
from tests.rerank.shop import DIM, NOW, Shop, item, trend, vector
from tests.retrieval.sizes import only


def contexts(*windows: list[str], queries: list[np.ndarray | None] | None = None, shop: Shop) -> Contexts:
    """Windows of item ids, newest first."""
    width = max(1, *map(len, windows))
    clicks = np.zeros((len(windows), width), CLICK)
    for at, window in enumerate(windows):
        clicks["item"][at, : len(window)] = [item_key(item_id) for item_id in window]
    lengths = np.array([len(window) for window in windows], np.int32)
    keys = np.ascontiguousarray(clicks["item"])
    vectors = np.zeros((len(windows), DIM), np.float32)
    for at, query in enumerate(queries or []):
        if query is not None:
            vectors[at] = query
    return Contexts(
        now_ms=np.full(len(windows), NOW, np.int64),
        keys=keys,
        rows=np.where(np.arange(width) < lengths[:, None], shop.catalogue.rows_of(keys), np.int32(-1)),
        codes=np.ones((len(windows), width), np.uint8),
        ts_ms=np.zeros((len(windows), width), np.int64),
        lengths=lengths,
        page_leads=np.zeros(len(windows), np.bool_),
        queries=vectors,
        has_query=np.any(vectors != 0, axis=1),
    )


def of(candidates: Candidates, request: int, shop: Shop) -> dict[str, int]:
    """Item id to position, for one request."""
    begin, end = candidates.starts[request], candidates.starts[request + 1]
    assert set(candidates.request[begin:end].tolist()) <= {request}
    return {shop.catalogue.item_ids[candidates.rows[at]]: at for at in range(begin, end)}


def brought(shop: Shop, asked: Contexts, sources: SourceSettings, given: Any = ()) -> Candidates:
    return gather(asked, shop.state, sources, given)


ONLY_NEAREST = only(nearest=3)
ONLY_COVISIT = only(covisit_clicks=4, covisit=20)
ONLY_TRENDING = only(trending=3)
SOME = {"nearest": 60, "covisit_clicks": 4, "covisit": 20, "trending": 20}


def test_nearest_items_of_the_session_vector_are_candidates_with_their_rank() -> None:
    shop = Shop()
    asked = contexts([], ["books-0"], queries=[None, vector("books", 3)], shop=shop)
    candidates = brought(shop, asked, ONLY_NEAREST)
    assert of(candidates, 0, shop) == {}
    found = of(candidates, 1, shop)
    assert candidates.nearest_rank[found["books-3"]] == 0.0
    assert len(found) == 3
    assert np.isnan(candidates.trending_rank).all()
    assert np.isnan(candidates.covisit_last).all()


def test_co_visited_items_of_the_last_clicks_are_summed_nearer_clicks_more() -> None:
    shop = Shop()
    shop.covisit("shoes-1", {"lamps-1": 4.0, "lamps-2": 2.0}, popularity=10.0)
    shop.covisit("books-1", {"lamps-2": 6.0, "gone": 5.0}, popularity=10.0)
    candidates = brought(shop, contexts(["shoes-1", "books-1"], shop=shop), ONLY_COVISIT)
    found = of(candidates, 0, shop)
    assert set(found) == {"lamps-1", "lamps-2"}
    one, two = found["lamps-1"], found["lamps-2"]
    assert candidates.covisit[[one, two]].tolist() == pytest.approx([0.4, 0.2 + 0.6 / 2], rel=1e-3)
    assert candidates.covisit_count[[one, two]].tolist() == [1.0, 2.0]
    assert candidates.covisit_last[[one, two]].tolist() == pytest.approx([0.4, 0.2], rel=1e-3)
    assert candidates.covisit_last_rank[[one, two]].tolist() == [0.0, 1.0]
    assert candidates.covisit_from[[one, two]].tolist() == [0, 1]


def test_a_click_repeated_in_the_window_suggests_its_neighbours_once() -> None:
    shop = Shop()
    shop.covisit("shoes-1", {"lamps-1": 5.0})
    candidates = brought(shop, contexts(["shoes-1", "books-9", "shoes-1"], shop=shop), ONLY_COVISIT)
    assert candidates.covisit.tolist() == [0.5]
    assert candidates.covisit_count.tolist() == [1.0]


def test_padding_of_a_short_window_suggests_nothing() -> None:
    shop = Shop()
    shop.covisit("shoes-1", {"lamps-1": 5.0})
    candidates = brought(shop, contexts([], ["shoes-1", "books-9"], shop=shop), ONLY_COVISIT)
    assert of(candidates, 0, shop) == {}
    assert set(of(candidates, 1, shop)) == {"lamps-1"}


def test_what_goes_together_lately_is_a_candidate_however_rare_it_is_over_all() -> None:
    shop = Shop()
    often = {f"lamps-{at}": 9.0 - at for at in range(8)}
    shop.covisit("shoes-1", {**often, "games-1": 0.25}, popularity=10.0, recent=2.0, lately={"games-1": 0.5})
    sizes = only(covisit_clicks=4, covisit=2, covisit_recent=1)
    candidates = brought(shop, contexts(["shoes-1"], shop=shop), sizes)
    found = of(candidates, 0, shop)
    assert set(found) == {"lamps-0", "lamps-1", "games-1"}
    at = found["games-1"]
    assert (candidates.together_last[at], candidates.together[at], candidates.together_last_rank[at]) == (0.25, 0.25, 0)
    assert candidates.covisit_last_rank[at] == 8.0
    assert np.isnan(candidates.together_last_rank[found["lamps-0"]])


def test_a_neighbour_that_another_source_brought_keeps_its_co_visitation() -> None:
    shop = Shop()
    shop.covisit("games-9", {"lamps-1": 8.0, "shoes-0": 4.0}, popularity=8.0)
    asked = contexts(["games-9"], shop=shop)
    candidates = brought(shop, asked, only(covisit_clicks=4, covisit=1, trending=1))
    found = of(candidates, 0, shop)
    assert set(found) == {"lamps-1", "shoes-0"}
    assert candidates.covisit[found["shoes-0"]] == 0.5
    assert candidates.after_last[found["shoes-0"]] == 0.5


def test_the_sessions_own_items_are_candidates_where_they_may_be_shown() -> None:
    shop = Shop()
    asked = contexts(["shoes-1", "books-1", "shoes-1", "nothing", "lamps-2"], ["games-3"], shop=shop)
    sizes = only(window=4)
    candidates = brought(shop, asked, sizes)
    found = of(candidates, 0, shop)
    assert {name: candidates.window_rank[at] for name, at in found.items()} == {"shoes-1": 0.0, "books-1": 1.0}
    assert set(of(candidates, 1, shop)) == {"games-3"}
    hidden = gather(asked, shop.state, sizes, shows_seen=np.array([False, True]))
    assert of(hidden, 0, shop) == {}
    assert set(of(hidden, 1, shop)) == {"games-3"}


def test_items_clicked_most_lately_come_whatever_trends() -> None:
    shop = Shop()
    shop.trends.apply([(item_key("games-9"), trend(1.0, recent=5.0)), (item_key("books-2"), trend(1.0, recent=7.0))])
    candidates = brought(shop, contexts([], shop=shop), only(recent=5))
    found = of(candidates, 0, shop)
    assert sorted(found, key=lambda name: candidates.recent_rank[found[name]]) == ["books-2", "games-9"]
    assert np.isnan(candidates.trending_rank).all()


def test_new_items_are_candidates_once_somebody_clicks_them_however_rarely() -> None:
    shop = Shop()
    hour_ms = 3_600_000
    shop.put(*(item(name, created_ms=NOW - 4 * hour_ms) for name in shop.item_ids))
    shop.put(*(item(f"shoes-{at}", created_ms=NOW - 60_000) for at in (77, 78, 79)))
    clicks = {"shoes-77": 1.0, "shoes-78": 2.0, "lamps-3": 99.0}
    shop.trends.apply((item_key(name), trend(count, recent=count)) for name, count in clicks.items())
    candidates = brought(shop, contexts([], shop=shop), only(new=5))
    found = of(candidates, 0, shop)
    assert {name: candidates.new_rank[at] for name, at in found.items()} == {"shoes-78": 0.0, "shoes-77": 1.0}


def test_trending_items_come_in_their_order() -> None:
    shop = Shop()
    candidates = brought(shop, contexts([], shop=shop), ONLY_TRENDING)
    found = of(candidates, 0, shop)
    assert sorted(found, key=lambda name: candidates.trending_rank[found[name]]) == ["shoes-0", "books-0", "lamps-0"]


def test_an_item_from_several_sources_is_one_candidate_with_every_number() -> None:
    shop = Shop()
    shop.covisit("games-9", {"shoes-0": 1.0})
    asked = contexts(["games-9"], queries=[vector("shoes", 0)], shop=shop)
    candidates = brought(shop, asked, only(nearest=5, covisit_clicks=4, covisit=5, trending=5))
    assert len(candidates) == len(set(candidates.rows.tolist()))
    at = of(candidates, 0, shop)["shoes-0"]
    assert candidates.nearest_rank[at] == 0.0
    assert candidates.trending_rank[at] == 0.0
    assert candidates.covisit[at] == pytest.approx(0.1, rel=1e-3)


def test_given_rows_replace_the_search_and_keep_the_callers_order() -> None:
    shop = Shop()
    shop.covisit("games-9", {"books-3": 1.0, "books-4": 1.0})
    rows = shop.catalogue.rows_of(
        np.array([item_key(name) for name in ("lamps-2", "never", "books-3", "lamps-2")], np.uint64)
    )
    asked = contexts(["games-9"], ["games-9"], queries=[vector("shoes", 0), None], shop=shop)
    candidates = brought(shop, asked, only(**SOME), [rows, None])
    found = of(candidates, 0, shop)
    assert set(found) == {"lamps-2", "books-3"}
    assert candidates.given_rank[found["lamps-2"]] < candidates.given_rank[found["books-3"]]
    assert candidates.covisit[found["books-3"]] == pytest.approx(0.1, rel=1e-3)
    others = of(candidates, 1, shop)
    assert "books-4" in others
    assert np.isnan(candidates.given_rank[list(others.values())]).all()


def test_items_that_are_gone_are_no_candidates_whatever_names_them() -> None:
    shop = Shop()
    shop.covisit("games-9", {"shoes-0": 1.0})
    shop.put((item_key("shoes-0"), None))
    row = shop.catalogue.rows_of(np.array([item_key("shoes-0")], np.uint64))
    asked = contexts(["games-9"], ["games-9"], queries=[vector("shoes", 0), None], shop=shop)
    candidates = brought(shop, asked, only(**SOME), [None, row])
    assert "shoes-0" not in of(candidates, 0, shop)
    assert of(candidates, 1, shop) == {}


def test_a_batch_answers_as_each_request_alone() -> None:
    shop = Shop()
    shop.covisit("shoes-1", {"lamps-1": 4.0, "lamps-2": 2.0})
    queries = [vector("shoes", 1), None, vector("games", 4)]
    windows = [["shoes-1", "books-2"], ["lamps-0", "shoes-1"], ["games-4", "games-5"]]
    together = brought(shop, contexts(*windows, queries=queries, shop=shop), only(**{**SOME, "nearest": 7}))
    for at, (window, query) in enumerate(zip(windows, queries, strict=True)):
        alone = brought(shop, contexts(window, queries=[query], shop=shop), only(**{**SOME, "nearest": 7}))
        mine = slice(together.starts[at], together.starts[at + 1])
        for name in ("rows", "nearest_rank", "covisit", "covisit_count", "covisit_from", "trending_rank"):
            np.testing.assert_allclose(getattr(together, name)[mine], getattr(alone, name), rtol=1e-6, err_msg=name)


def test_an_empty_catalogue_has_no_candidates() -> None:
    shop = Shop(per_category=0)
    candidates = brought(shop, contexts([], [], shop=shop), only(**SOME), [None, np.array([-1], np.int32)])
    assert len(candidates) == 0
    assert candidates.starts.tolist() == [0, 0, 0]


def test_more_clicks_are_looked_at_when_the_setting_says_so() -> None:
    shop = Shop()
    shop.covisit("shoes-1", {"lamps-1": 4.0})
    asked = contexts(["books-0", "books-1", "shoes-1"], shop=shop)
    assert len(brought(shop, asked, ONLY_COVISIT.model_copy(update={"covisit_clicks": 2}))) == 0
    assert len(brought(shop, asked, ONLY_COVISIT.model_copy(update={"covisit_clicks": 3}))) == 1
