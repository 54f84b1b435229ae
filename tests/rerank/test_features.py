"""The features of the re-ranker, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from contracts.codec import EndedSession, ShowingBlock
from contracts.events import EventCode
from contracts.ids import item_key
from contracts.sessions import Session
from rerank.features import FEATURES, SCHEMA_HASH, compute
from rerank.query import Query
from rerank.session_vector import contexts_of
from retrieval.candidates import gather
from retrieval.ended_sessions import Slot
from retrieval.session_columns import SessionColumns
from tests.rerank.shop import NOW, Shop, encoder, item, session, trend, vector
from tests.retrieval.sizes import only

Rows = dict[str, dict[str, float]]


def features_of(
    shop: Shop, visitors: list[Session | None], with_encoder: bool = True, ended: SessionColumns | None = None
) -> list[dict[str, dict[str, float]]]:
    """Every request's candidates by item id, each a dict of its features."""
    queries = [Query(NOW, session=visitor) for visitor in visitors]
    contexts = contexts_of(queries, shop.catalogue, encoder() if with_encoder else None)
    candidates = gather(contexts, shop.state, only(nearest=50, covisit_clicks=4, covisit=20, trending=3))
    rows = compute(contexts, candidates, replace(shop.state, ended=ended or SessionColumns()))
    assert rows.shape == (len(candidates), len(FEATURES))
    assert rows.dtype == np.float32
    found: list[Rows] = [{} for _ in visitors]
    for request, row, values in zip(candidates.request, candidates.rows, rows.tolist(), strict=True):
        found[request][shop.catalogue.item_ids[row]] = dict(zip(FEATURES, values, strict=True))
    return found


def shop_of_prices() -> Shop:
    shop = Shop(per_category=3)
    shop.catalogue.expect(0xAB, 8)
    shop.put(
        item("shoes-0", price=10.0, brand="Fox", category="wear/shoes"),
        item("shoes-1", price=30.0, brand="Elk", category="wear/shoes"),
        item("shoes-2", price=40.0, brand="Fox", category="wear/hats", created_ms=NOW - 100 * 24 * 3_600_000),
        item("books-0", price=0.0),
    )
    return shop


def test_similarities_are_to_the_session_its_last_item_and_its_recent_items() -> None:
    shop = Shop(per_category=3)
    [found] = features_of(shop, [session("shoes-0", "books-1")])
    one = found["books-2"]
    state = 0.5 * (0.5 * vector("shoes", 0)) + 0.5 * vector("books", 1)
    query = state / np.linalg.norm(state)
    assert one["query_similarity"] == pytest.approx(float(query @ vector("books", 2)), abs=1e-5)
    to_last, to_first = (float(vector("books", 2) @ other) for other in (vector("books", 1), vector("shoes", 0)))
    assert one["last_similarity"] == pytest.approx(to_last, abs=1e-5)
    assert one["best_similarity"] == pytest.approx(max(to_last, to_first), abs=1e-5)
    assert one["mean_similarity"] == pytest.approx((to_last + to_first) / 2, abs=1e-5)
    assert found["books-1"]["nearest_rank"] == 0.0


def test_numbers_that_do_not_exist_are_nan() -> None:
    shop = Shop(per_category=3, embedded=False)
    [found, unknown] = features_of(shop, [session("shoes-0"), None], with_encoder=False)
    one = found["shoes-0"]
    for name in ("query_similarity", "nearest_rank", "last_similarity", "best_similarity", "covisit_last", "price"):
        assert math.isnan(one[name]), name
    assert math.isnan(one["price_to_session"])
    assert math.isnan(one["last_dwell"])
    assert one["trending_rank"] == 0.0
    assert unknown["shoes-0"]["window_length"] == 0.0
    assert math.isnan(unknown["shoes-0"]["last_code"])


def test_sources_leave_their_numbers() -> None:
    shop = Shop(per_category=3)
    shop.covisit("books-1", {"lamps-1": 5.0, "lamps-2": 2.5})
    shop.covisit("shoes-0", {"lamps-2": 5.0})
    [found] = features_of(shop, [session("shoes-0", "books-1")])
    one = found["lamps-2"]
    assert (one["covisit_last"], one["covisit_last_rank"]) == (0.25, 1.0)
    assert (one["covisit"], one["covisit_count"]) == (0.5, 2.0)


def test_popularity_is_a_log_and_relative_to_the_top() -> None:
    shop = Shop(per_category=1)
    [found] = features_of(shop, [session("shoes-0")])
    assert found["books-0"]["popularity"] == pytest.approx(math.log1p(99.0), rel=1e-5)
    assert found["books-0"]["popularity_to_top"] == pytest.approx(math.log(99.1 / 100.1), rel=1e-4)
    counts = np.array([80], np.float32), np.array([20], np.float32)
    shop.trends.apply_showings([(0, ShowingBlock(np.array([item_key("books-0")], np.uint64), *counts))])
    [found] = features_of(shop, [session("shoes-0")])
    assert found["books-0"]["ctr"] == pytest.approx((20 + 0.25 * 20) / (80 + 20), rel=1e-5)


def test_content_is_compared_with_the_window() -> None:
    [found] = features_of(shop_of_prices(), [session("books-0", "shoes-0", "shoes-1")])
    one = found["shoes-2"]
    assert one["price"] == pytest.approx(math.log1p(40.0))
    assert one["price_to_session"] == pytest.approx(math.log(40.0 / 20.0), rel=1e-5)
    assert one["category_share"] == 0.0
    assert one["top_category_share"] == pytest.approx(2 / 3)
    assert one["brand_share"] == pytest.approx(1 / 3)
    assert (one["last_category"], one["last_brand"]) == (0.0, 0.0)
    assert found["shoes-0"]["category_share"] == pytest.approx(2 / 3)
    assert found["shoes-0"]["last_category"] == 1.0


def test_items_without_a_category_or_brand_resemble_nothing() -> None:
    shop = Shop(per_category=1)
    shop.put(item("x-1"), item("x-2"))
    [found] = features_of(shop, [session("x-1")])
    assert found.get("shoes-0", {})["category_share"] == 0.0
    shop.covisit("x-1", {"x-2": 1.0})
    [found] = features_of(shop, [session("x-1")])
    assert (found["x-2"]["category_share"], found["x-2"]["brand_share"], found["x-2"]["last_brand"]) == (0.0, 0.0, 0.0)


def test_the_window_says_how_often_and_how_long_ago() -> None:
    visitor = session("shoes-1", ("shoes-0", EventCode.CART), "shoes-1", "books-0")
    [found] = features_of(shop_of_prices(), [visitor])
    assert (found["shoes-1"]["times_in_window"], found["shoes-1"]["place_in_window"]) == (2.0, 1.0)
    assert found["shoes-2"]["times_in_window"] == 0.0
    assert math.isnan(found["shoes-2"]["place_in_window"])
    one = found["shoes-2"]
    assert one["window_length"] == pytest.approx(math.log1p(4))
    assert one["window_items"] == 3.0
    assert one["last_code"] == EventCode.VIEW
    assert one["cart_share"] == 0.25
    assert one["last_dwell"] == pytest.approx(math.log1p(1.0))


def test_items_older_than_a_week_are_of_one_age() -> None:
    [found] = features_of(shop_of_prices(), [session("books-0")])
    assert found["shoes-2"]["item_age"] == pytest.approx(math.log1p(7 * 24))
    assert found["shoes-1"]["item_age"] == pytest.approx(math.log1p(1))


def test_a_batch_has_the_features_of_each_request_alone() -> None:
    shop = shop_of_prices()
    shop.covisit("books-1", {"lamps-1": 5.0, "lamps-2": 2.5})
    visitors = [session("shoes-0", "books-1"), None, session("lamps-2"), session(*["games-1"] * 30)]
    together = features_of(shop, visitors)
    for found, visitor in zip(together, visitors, strict=True):
        [alone] = features_of(shop, [visitor])
        if visitor is not None:  # how many trend differs when somebody in the batch is unknown
            assert found.keys() == alone.keys()
        for item_id in found.keys() & alone.keys():
            np.testing.assert_allclose(list(found[item_id].values()), list(alone[item_id].values()), rtol=1e-5)


def test_recent_clicks_are_counted_beside_and_against_what_popularity_would_have_them_be() -> None:
    shop = Shop()
    rising = trend(48.0, recent=20.0), trend(96.0, recent=0.0)
    shop.trends.apply(zip((item_key("shoes-1"), item_key("shoes-2")), rising, strict=True))
    [found] = features_of(shop, [session("shoes-1")])
    one, other = found["shoes-1"], found["shoes-2"]
    assert (one["recent"], other["recent"]) == (pytest.approx(math.log1p(20.0), rel=1e-4), 0.0)
    assert one["momentum"] == pytest.approx(math.log(20.1 / 1.1), rel=1e-4)
    assert other["momentum"] == pytest.approx(math.log(0.1 / 2.1), rel=1e-4)
    assert one["recent_to_top"] == pytest.approx(0.0, abs=1e-4)
    assert other["recent_to_top"] == pytest.approx(math.log(0.1 / 20.1), rel=1e-4)
    assert other["last_recent"] == pytest.approx(math.log1p(20.0), rel=1e-4)
    assert other["last_age"] == pytest.approx(math.log1p(1.0), rel=1e-4)


def test_co_visitation_is_also_told_against_the_best_of_the_request() -> None:
    shop = Shop(per_category=3)
    shop.covisit("books-1", {"lamps-1": 4.0, "lamps-2": 2.0}, 8.0, recent=4.0, lately={"lamps-2": 1.0})
    [_, found] = features_of(shop, [session("shoes-0"), session("books-1")])
    assert (found["lamps-1"]["covisit_to_best"], found["lamps-2"]["covisit_to_best"]) == (1.0, 0.5)
    assert (found["lamps-1"]["together_to_best"], found["lamps-2"]["together_to_best"]) == (0.0, 1.0)
    assert (found["lamps-2"]["together_last"], found["lamps-2"]["together_last_rank"]) == (0.25, 0.0)
    assert (found["lamps-2"]["after_last"], found["lamps-2"]["after"]) == (0.25, 0.25)


def test_how_a_visitor_goes_back_and_forth_is_told_of_candidate_and_request() -> None:
    # oldest first: A B A C B A
    names = {"A": "shoes-0", "B": "books-0", "C": "games-0"}
    [found] = features_of(Shop(per_category=3), [session(*(names[click] for click in "ABACBA"))])
    told = ("followed_last", "preceded_last", "oldest_place", "items_since", "first_seen", "own_gap")
    assert [found["shoes-0"][name] for name in told] == [0.0, 0.0, 5.0, 0.0, 1.0, 3.0]
    assert [found["books-0"][name] for name in told] == [1.0, 1.0, 4.0, 1.0, 0.0, 3.0]
    lamp, game = found["lamps-0"], found["games-0"]
    assert [game[name] for name in told[:5]] == [1.0, 0.0, 2.0, 2.0, 0.0]
    assert math.isnan(game["own_gap"])
    assert [lamp[name] for name in ("followed_last", "preceded_last", "first_seen")] == [0.0, 0.0, 0.0]
    assert all(math.isnan(lamp[name]) for name in ("oldest_place", "items_since", "own_gap"))
    assert (lamp["last_times"], lamp["last_place"], lamp["returns"]) == (2.0, 3.0, 3.0)


def test_one_click_is_no_return() -> None:
    [found, nothing] = features_of(Shop(per_category=3), [session("shoes-0"), None])
    one = found["shoes-1"]
    assert (one["last_times"], one["returns"]) == (0.0, 0.0)
    assert math.isnan(one["last_place"])
    assert (found["shoes-0"]["first_seen"], found["shoes-0"]["oldest_place"]) == (1.0, 0.0)
    assert {row["returns"] for row in nothing.values()} == {0.0}


def test_pairs_are_weighed_against_how_often_either_item_is_clicked() -> None:
    shop = Shop(per_category=3)
    shop.covisit("books-1", {"lamps-1": 4.0}, 16.0)
    shop.covisit("shoes-0", {"lamps-1": 1.0}, 4.0)
    shop.trends.apply([(item_key("lamps-1"), trend(8.0))])
    [found] = features_of(shop, [session("shoes-0", "books-1")])
    one = found["lamps-1"]
    assert one["covisit_second"] == pytest.approx(0.25, rel=1e-3)
    assert one["covisit_cosine_last"] == pytest.approx(0.25 * 4.0 / 3.0, rel=1e-3)
    assert one["covisit_cosine"] == pytest.approx((0.25 * 4.0 + 0.25 * 2.0) / 3.0, rel=1e-3)


def test_sessions_that_are_over_vote_for_what_else_they_held() -> None:
    shop, ended = Shop(per_category=3), SessionColumns()
    held = [("books-1", "lamps-1"), ("books-1", "lamps-1", "lamps-2"), ("shoes-0", "games-0"), ("games-0", "games-1")]
    for slot, items in enumerate(held):
        ended.apply([(Slot(slot), EndedSession(slot, np.array([item_key(name) for name in items], np.uint64)))])
    shop.covisit("books-1", {"lamps-1": 1.0, "lamps-2": 1.0, "games-0": 1.0, "games-2": 1.0}, 4.0)

    [found, stranger] = features_of(shop, [session("shoes-0", "books-1"), None], ended=ended)

    names = ("votes", "votes_to_best", "sessions_cosine_last", "sessions_cosine")
    rare, rare_before = math.log(4 / 2), 0.85 * math.log(4 / 1)
    said = {item: [found[item][name] for name in names] for item in ("lamps-1", "lamps-2", "games-0", "games-2")}
    assert said["lamps-1"] == pytest.approx([2 * rare, 1, 1, 1])
    assert said["lamps-2"] == pytest.approx([rare, 0.5, 0.5**0.5, 0.5**0.5])
    assert said["games-0"] == pytest.approx([rare_before, rare_before / (2 * rare), 0, 0.5**0.5])
    assert said["games-2"] == [0, 0, 0, 0]
    assert {one["votes"] for one in stranger.values()} == {0}


def test_sessions_that_are_over_say_what_came_next_the_visitors_way() -> None:
    shop, ended = Shop(per_category=3), SessionColumns()
    held = [("shoes-0", "books-1", "lamps-1"), ("games-0", "books-1", "lamps-2", "lamps-1"), ("games-0", "games-1")]
    for slot, items in enumerate(held):
        ended.apply([(Slot(slot), EndedSession(slot, np.array([item_key(name) for name in items], np.uint64)))])
    shop.covisit("books-1", {"lamps-1": 1.0, "lamps-2": 1.0, "games-0": 1.0}, 4.0)

    [found, stranger] = features_of(shop, [session("shoes-0", "books-1"), None], ended=ended)

    names = ("sessions_next", "sessions_before", "sessions_next_alike", "sessions_next_exactly", "sessions_later_alike")
    said = {item: [found[item][name] for name in names] for item in ("lamps-1", "lamps-2", "games-0")}
    assert said["lamps-1"] == pytest.approx([1 / 5, 0, 0.85 / 1.85, 1 / 2, math.log1p(0.85)])
    assert said["lamps-2"] == pytest.approx([1 / 5, 0, 0, 0, 0])
    assert said["games-0"] == pytest.approx([0, 1 / 5, 0, 0, 0])
    assert {one[name] for one in stranger.values() for name in names} == {0}


def test_how_an_items_clicks_come_about_is_told_whenever_they_were() -> None:
    shop = Shop(per_category=3)
    shop.trends.apply(
        [(item_key("books-1"), trend(0.0, origin_counts=(4.0, 2.0, 10.0, 3.0)))]
    )  # entry, repeat, forward, return
    names = ("went_on_to_mean", "went_on_share", "came_back_share", "again_share")
    shop.trends.apply([(item_key("shoes-1"), trend(0.0, origin_counts=(4.0, 0.0, 5.0, 0.0)))])
    [found] = features_of(shop, [session("shoes-0", "books-1")])
    told = [math.log(14 / 10), math.log(14 / 20.5), math.log(3.3 / 16), math.log(2.3 / 22)]
    assert [found["books-1"][name] for name in names] == pytest.approx(told, rel=1e-5)
    nothing = [math.log(1 / 10), math.log(1 / 1.5), math.log(0.1), math.log(0.1)]
    assert [found["shoes-0"][name] for name in names] == pytest.approx(nothing, rel=1e-5)


def test_the_schema_hash_names_these_features() -> None:
    assert len(set(FEATURES)) == len(FEATURES) == 67
    assert SCHEMA_HASH == "767332cec03b67ce"
