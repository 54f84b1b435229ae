"""Whole answers: with and without models, rules, reasons, batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from contracts.api import Placement
from contracts.events import EventCode
from contracts.ids import item_key
from contracts.scenarios import Scenario
from rerank.features import FEATURES
from rerank.pipeline import PipelineSettings, Query, Ranked, Seen
from rerank.scenarios.compiled import Compiled, compile_scenario
from tests.rerank.shop import MODEL, NOW, Shop, Ticking, encoder, item, session, state, trend, vector
from tests.rerank.test_ranker import ranker

STAGES = ["session_vector", "retrieve", "features", "rerank", "rules", "explain"]


def ids(answer: Ranked) -> list[str]:
    return [one.item_id for one in answer.items]


def reasons(answer: Ranked) -> dict[str, str]:
    return {one.item_id: one.reason for one in answer.items}


def test_clicks_change_the_answer_towards_what_was_clicked() -> None:
    pipeline = Shop().pipeline(ranker=ranker())
    before, after = (
        pipeline.recommend([Query(NOW, session=visitor, limit=8)])[0]
        for visitor in (None, session("games-3", "games-4", "games-5"))
    )
    assert ids(before)[:4] == ["shoes-0", "books-0", "lamps-0", "games-0"]
    assert [name.partition("-")[0] for name in ids(after)[:4]] == ["games"] * 4
    assert after.degraded == []
    assert list(after.timings_us) == STAGES


def test_scores_fall_and_items_are_distinct() -> None:
    shop = Shop()
    shop.covisit("games-3", {"lamps-1": 4.0, "shoes-2": 3.0})
    [answer] = shop.pipeline(ranker=ranker()).recommend([Query(NOW, session=session("games-3"), limit=30)])
    scores = [one.score for one in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert len(set(ids(answer))) == len(answer.items) == 30


def test_without_a_model_co_visitation_answers_and_trends_fill_up() -> None:
    shop = Shop(embedded=False)
    shop.covisit("games-3", {"lamps-9": 4.0, "shoes-8": 3.0})
    [answer] = shop.pipeline(with_encoder=False).recommend([Query(NOW, session=session("games-3"), limit=5)])
    assert ids(answer) == ["lamps-9", "shoes-8", "shoes-0", "books-0", "lamps-0"]
    assert answer.degraded == ["no_model"]


def test_without_a_ranker_items_come_in_retrieval_order() -> None:
    [answer] = Shop().pipeline().recommend([Query(NOW, session=session("games-3"), limit=4)])
    assert answer.degraded == ["no_ranker"]
    assert [name.partition("-")[0] for name in ids(answer)[:2]] == ["games"] * 2


def test_a_ranker_serves_later_versions_of_the_session_model_but_not_without_one() -> None:
    query = Query(NOW, session=session("games-3"))
    shop = Shop()
    assert shop.pipeline(ranker=ranker(model_version=MODEL + 1)).recommend([query])[0].degraded == []
    assert shop.pipeline(ranker=ranker(model_version=0)).recommend([query])[0].degraded == ["no_ranker"]
    assert shop.pipeline(False, ranker=ranker()).recommend([query])[0].features.size == 0


def test_a_ranker_that_was_trained_without_a_session_model_re_ranks_without_one() -> None:
    shop = Shop(embedded=False)
    likes_popular = ranker("popularity", model_version=0)
    [answer] = shop.pipeline(False, ranker=likes_popular).recommend([Query(NOW, session=session("games-3"))])
    assert answer.degraded == ["no_model"]
    assert answer.features.shape == (20, len(FEATURES))


def test_without_a_session_the_page_shows_what_trends() -> None:
    [answer] = Shop().pipeline(ranker=ranker()).recommend([Query(NOW, limit=3)])
    assert ids(answer) == ["shoes-0", "books-0", "lamps-0"]
    assert set(reasons(answer).values()) == {"popular now"}
    assert answer.degraded == []


def test_an_empty_catalogue_gives_an_empty_answer() -> None:
    shop = Shop(per_category=0)
    queries = [
        Query(NOW),
        Query(NOW, session=session("games-3"), item_id="games-1", exclude=("a",)),
        Query(NOW, candidates=("a", "b")),
    ]
    for pipeline in (shop.pipeline(ranker=ranker()), shop.pipeline(with_encoder=False)):
        assert [answer.items for answer in pipeline.recommend(queries)] == [[], [], []]


def test_no_queries_give_no_answers() -> None:
    assert Shop().pipeline().recommend([]) == []


def test_an_item_page_is_answered_from_its_item_without_a_session() -> None:
    shop = Shop()
    shop.covisit("games-3", {"lamps-9": 4.0})
    query = Query(NOW, placement=Placement.PRODUCT, item_id="games-3", limit=4)
    [answer] = shop.pipeline(ranker=ranker()).recommend([query])
    assert "games-3" not in ids(answer)
    assert sum(name.startswith("games") for name in ids(answer)) == 3
    assert reasons(shop.pipeline().recommend([query])[0])["lamps-9"] == 'often viewed with "The games-3"'


def test_a_page_that_was_clicked_last_counts_once() -> None:
    shop = Shop()
    pipeline = shop.pipeline(ranker=ranker())
    visitor = session("shoes-1", "games-3")
    with_page, without = pipeline.recommend(
        [Query(NOW, session=visitor, item_id="games-3"), Query(NOW, session=visitor)]
    )
    assert ids(with_page) == ids(without)


def test_a_stored_embedding_is_used_and_an_outdated_or_incomplete_one_is_not() -> None:
    shop = Shop()
    stored = replace(session("books-1"), embedding=state("games", 3), model_version=MODEL)
    queries = [
        Query(NOW, session=visitor, limit=1)
        for visitor in (stored, replace(stored, model_version=MODEL + 1), replace(stored, incomplete=True))
    ]
    found = [ids(answer)[0].partition("-")[0] for answer in shop.pipeline(ranker=ranker()).recommend(queries)]
    assert found == ["games", "books", "books"]


def test_a_catalogue_of_another_model_is_refused() -> None:
    shop = Shop()
    shop.catalogue.model_version = MODEL + 1
    with pytest.raises(ValueError, match="the catalogue holds vectors of model 00000000000000ac"):
        shop.pipeline()


def test_no_rule_is_broken_and_every_one_is_counted() -> None:
    shop = Shop()
    shop.put(
        item("games-0", stock=0),
        item("games-1", regions=["FR"]),
        item("games-2", min_age=18),
    )
    query = Query(
        NOW,
        session=session("games-3"),
        item_id="games-4",
        placement=Placement.PRODUCT,
        region="DE",
        exclude=("games-5", "never"),
        limit=30,
    )
    [answer] = shop.pipeline(ranker=ranker()).recommend([query])
    assert not {f"games-{number}" for number in range(6)} & set(ids(answer))
    assert answer.dropped == {"out_of_stock": 1, "other_region": 1, "too_young": 1, "seen": 2, "excluded": 1}


def test_stock_that_runs_out_is_gone_from_the_next_answer() -> None:
    shop = Shop()
    pipeline = shop.pipeline(ranker=ranker())
    query = Query(NOW, session=session("games-3"), limit=5)
    first = ids(pipeline.recommend([query])[0])[0]
    shop.put(item(first, stock=0))
    assert first not in ids(pipeline.recommend([query])[0])


def test_a_cart_page_hides_what_is_in_the_cart_and_may_show_what_was_only_viewed() -> None:
    visitor = session("games-3", ("games-4", EventCode.CART))
    [cart, home] = (
        Shop()
        .pipeline(ranker=ranker())
        .recommend(
            [
                Query(NOW, session=visitor, placement=Placement.CART),
                Query(NOW, session=visitor, placement=Placement.HOMEPAGE),
            ]
        )
    )
    assert "games-3" in ids(cart)
    assert "games-4" not in ids(cart)
    assert not {"games-3", "games-4"} & set(ids(home))
    assert reasons(cart)["games-3"] == "you viewed this"


def test_what_a_placement_leaves_out_is_a_setting() -> None:
    settings = PipelineSettings(leave_out_seen={Placement.HOMEPAGE: Seen.NONE})
    query = Query(NOW, session=session("games-3"), limit=3)
    assert "games-3" in ids(Shop().pipeline(settings=settings).recommend([query])[0])


def test_a_visitor_whose_age_is_unknown_counts_as_the_setting_says() -> None:
    shop = Shop()
    shop.put(*(item(f"games-{number}", min_age=18) for number in range(10)))
    visitor = session("games-3")
    adult = shop.pipeline(settings=PipelineSettings(unknown_age=18)).recommend([Query(NOW, session=visitor)])[0]
    assert any(name.startswith("games") for name in ids(adult))
    unknown, grown = shop.pipeline().recommend([Query(NOW, session=visitor), Query(NOW, session=visitor, age=18)])
    assert not any(name.startswith("games") for name in ids(unknown))
    assert any(name.startswith("games") for name in ids(grown))


def test_one_category_takes_its_share_of_the_page_while_others_can_fill_it() -> None:
    [answer] = Shop().pipeline(ranker=ranker()).recommend([Query(NOW, session=session("games-3"), limit=8)])
    assert sum(name.startswith("games") for name in ids(answer)) == 4
    limited = answer.dropped["limit_per_category"]
    everything = Shop().pipeline(ranker=ranker(), settings=PipelineSettings(category_share=0))
    [answer] = everything.recommend([Query(NOW, session=session("games-3"), limit=8)])
    assert sum(name.startswith("games") for name in ids(answer)) == 8
    assert limited >= 4  # the four that others took the places of, and what ranks with them
    assert "limit_per_category" not in answer.dropped


def test_what_rules_dropped_is_named_when_that_is_asked() -> None:
    shop = Shop()
    shop.put(item("games-0", stock=0))
    query = Query(NOW, session=session("games-3"), explain=True, limit=8)
    plain, explained = shop.pipeline(ranker=ranker()).recommend([replace(query, explain=False), query])
    assert plain.dropped_items == {}
    assert explained.dropped_items["out_of_stock"] == ["games-0"]
    assert explained.dropped_items["seen"] == ["games-3"]
    held_back = explained.dropped_items["limit_per_category"]
    assert held_back
    assert not set(held_back) & set(ids(explained))
    assert {rule: len(named) for rule, named in explained.dropped_items.items()} == explained.dropped == plain.dropped


def test_a_shop_of_one_category_still_fills_the_page() -> None:
    shop = Shop(per_category=0)
    shop.put(*(item(f"games-{number}") for number in range(12)))
    [answer] = shop.pipeline(ranker=ranker()).recommend([Query(NOW, session=session("games-3"), limit=8)])
    assert len(ids(answer)) == 8
    scores = [one.score for one in answer.items]
    assert scores == sorted(scores, reverse=True)


def test_a_starved_page_is_filled_from_trends_under_the_same_rules() -> None:
    shop = Shop(per_category=40)
    settings = PipelineSettings(nearest=5, covisit=0, covisit_recent=0, trending=5, recent=0, new=0)
    gone = [f"games-{number}" for number in range(40)] + ["shoes-0", "books-0", "shoes-1"]
    shop.put(*(item(name, stock=0) for name in gone))
    query = Query(NOW, session=session("games-3"), limit=10, exclude=("books-1",))
    [answer] = shop.pipeline(ranker=ranker(), settings=settings).recommend([query])
    assert len(ids(answer)) == 10
    assert not set(gone) & set(ids(answer))
    assert "books-1" not in ids(answer)
    scores = [one.score for one in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert reasons(answer)["lamps-3"] == "popular now"


def test_given_candidates_are_ranked_and_nothing_else_is_shown() -> None:
    query = Query(
        NOW,
        placement=Placement.SEARCH,
        session=session("games-3"),
        candidates=("lamps-1", "games-3", "never", "games-4", "lamps-2"),
    )
    [answer] = Shop().pipeline(ranker=ranker()).recommend([query])
    assert set(ids(answer)) == {"lamps-1", "games-3", "games-4", "lamps-2"}
    assert [name.partition("-")[0] for name in ids(answer)[:2]] == ["games", "games"]


def test_given_candidates_keep_the_callers_order_for_an_unknown_visitor() -> None:
    shop = Shop()
    shop.trends.apply((item_key(name), None) for name in shop.item_ids)
    query = Query(NOW, placement=Placement.SEARCH, candidates=("lamps-5", "games-3", "books-4"))
    assert ids(shop.pipeline(ranker=ranker()).recommend([query])[0]) == ["lamps-5", "games-3", "books-4"]


def test_reasons_name_what_the_item_has_to_do_with() -> None:
    shop = Shop()
    shop.covisit("games-3", {"lamps-9": 4.0, "lamps-8": 0.1})
    visitor = session("shoes-1", ("games-3", EventCode.PURCHASE))
    [answer] = shop.pipeline().recommend([Query(NOW, session=visitor, limit=30)])
    assert reasons(answer)["lamps-9"] == 'often viewed with "The games-3"'
    assert reasons(answer)["lamps-8"] == 'also viewed with "The games-3"'
    assert reasons(answer)["games-5"] == 'similar to "The games-3" that you bought'
    assert reasons(answer)["shoes-2"] == 'similar to "The shoes-1" that you viewed'
    assert reasons(answer)["books-0"] == "popular now"


def test_a_long_title_is_cut_in_a_reason() -> None:
    shop = Shop()
    shop.put(item("games-3", title="x" * 100))
    [answer] = shop.pipeline().recommend([Query(NOW, session=session("games-3"), limit=1)])
    assert answer.items[0].reason == f'similar to "{"x" * 59}…" that you viewed'


def test_the_rows_that_were_ranked_can_be_logged() -> None:
    [answer] = Shop().pipeline(ranker=ranker()).recommend([Query(NOW, session=session("games-3"), limit=5)])
    assert answer.features.shape == (5, len(FEATURES))
    similarity = answer.features[:, FEATURES.index("query_similarity")]
    expected = [float(encoder().query(state("games", 3)[None])[0] @ vector(*_named(name))) for name in ids(answer)]
    assert similarity.tolist() == pytest.approx(expected, abs=1e-5)
    assert Shop().pipeline().recommend([Query(NOW, session=session("games-3"))])[0].features.shape == (0, 67)


def _named(item_id: str) -> tuple[str, int]:
    category, _, number = item_id.partition("-")
    return category, int(number)


def test_a_batch_answers_as_each_query_alone() -> None:
    shop = Shop()
    shop.covisit("games-3", {"lamps-9": 4.0})
    shop.put(item("games-1", regions=["FR"]))
    pipeline = shop.pipeline(ranker=ranker())
    queries = [
        Query(NOW, session=session("games-3", "shoes-2"), limit=7, region="DE"),
        Query(NOW, session=session("lamps-3"), limit=20),
        Query(NOW, session=session("games-3"), item_id="books-1", placement=Placement.PRODUCT, limit=5),
        Query(NOW, session=session("games-4"), candidates=("games-1", "books-3")),
    ]
    together = pipeline.recommend(queries)
    for query, answer in zip(queries, together, strict=True):
        alone = pipeline.recommend([query])[0]
        assert ids(alone) == ids(answer)
        assert reasons(alone) == reasons(answer)
        assert [one.score for one in alone.items] == pytest.approx([one.score for one in answer.items], abs=1e-5)


def test_before_anything_trends_a_page_holds_the_newest_items_that_the_rules_leave() -> None:
    shop = Shop(per_category=0)
    ages_s = {"shoes-1": 5, "books-1": 1, "lamps-1": 3, "games-1": 4, "games-2": 2}
    shop.put(
        *(item(name, created_ms=NOW - 1000 * age, stock=int(name != "books-1")) for name, age in ages_s.items()),
        (item_key("games-2"), None),
    )
    pipeline = shop.pipeline(ranker=ranker(), clock=Ticking(1e-4))
    hurried = Query(NOW, session=session("games-1"), limit=3, deadline=0.0)
    [known, unknown, named] = pipeline.recommend([hurried, Query(NOW, limit=3), Query(NOW, candidates=("gone",))])
    assert ids(known) == ["lamps-1", "shoes-1"]
    assert set(reasons(known).values()) == {"one of the newest"}
    assert known.degraded == ["trending"]
    assert ids(unknown) == ["lamps-1", "games-1", "shoes-1"]
    assert set(reasons(unknown).values()) == {"one of the newest"}
    assert ids(named) == []


def test_what_trends_fills_a_page_first_and_the_newest_items_fill_the_rest() -> None:
    shop = Shop(per_category=0)
    shop.put(item("shoes-1", created_ms=NOW - 5000), item("books-1", created_ms=NOW - 1000), item("lamps-1"))
    shop.trends.apply([(item_key("shoes-1"), trend(1.0))])
    [answer] = shop.pipeline(ranker=ranker()).recommend([Query(NOW, limit=2)])
    assert ids(answer)[0] == "shoes-1"
    assert len(ids(answer)) == 2
    assert list(reasons(answer).values()) == ["popular now", "one of the newest"]


def test_unknown_item_ids_in_a_query_do_no_harm() -> None:
    query = Query(NOW, session=session("ghost", "games-3", "ghost-2"), item_id="ghost-3", exclude=("ghost-4",))
    [answer] = Shop().pipeline(ranker=ranker()).recommend([query])
    assert len(answer.items) == 20
    assert np.isfinite([one.score for one in answer.items]).all()


def test_a_short_page_without_a_model_says_what_starved_it() -> None:
    shop = Shop()
    shop.put(item("only-here", regions=["FR"]))
    count = len(shop.catalogue)
    [answer] = shop.pipeline(False).recommend([Query(NOW, region="fr", category="nowhere", limit=5)])
    assert answer.starved_by == {"items": count, "category": 0, "region": 0, "in_stock": 0}
    [answer] = shop.pipeline(False).recommend([Query(NOW, region="fr", limit=count)])
    assert (answer.starved_by["items"], answer.starved_by["region"]) == (count, count - 1)


def of_ranker(name: str) -> Compiled:
    return compile_scenario("likes", 1, Scenario(ranker=name), lambda _: None)


def test_a_scenario_may_name_the_ranker_that_ranks() -> None:
    shop, likes = Shop(), {"popular": ranker("popularity"), "of-another-model": ranker("popularity", MODEL + 1)}
    pipeline = shop.pipeline(ranker=ranker(), rankers=likes.get)
    plain = Query(NOW, session=session("games-3"), limit=5)
    named = [replace(plain, scenario=of_ranker(name)) for name in ("popular", "of-another-model", "unknown")]
    usual, popular, other, unknown = pipeline.recommend([plain, *named])
    [alone] = shop.pipeline(ranker=likes["popular"]).recommend([plain])
    assert ids(popular) == ids(alone) != ids(usual)
    assert popular.degraded == usual.degraded == []
    assert ids(other) == ids(unknown) == ids(usual)
    assert other.degraded == unknown.degraded == ["other_ranker"]


def test_a_named_ranker_ranks_where_there_is_no_usual_one() -> None:
    named = Query(NOW, session=session("games-3"), limit=5, scenario=of_ranker("popular"))
    pipeline = Shop().pipeline(rankers={"popular": ranker("popularity")}.get)
    assert pipeline.recommend([named])[0].degraded == []
    assert pipeline.recommend([replace(named, scenario=None)])[0].degraded == ["no_ranker"]
