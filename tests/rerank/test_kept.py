"""A ranking that was kept is made again: the very same answer, whatever changed since."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.api import Placement
from contracts.ids import item_key
from contracts.users import Hidden
from rerank.kept import Keeping, Kept, Remade, item_bytes, pack, unpack
from rerank.query import PipelineSettings, Query, Ranked
from rerank.ranker import Ranker
from rerank.scenarios.compiled import compile_filter
from rerank.why_not import Verdict, why_not
from tests.rerank.shop import NOW, Shop, encoder, item, session, trend
from tests.rerank.test_ranker import ranker
from tests.rerank.test_scenarios import compiled, priced_shop
from tests.rerank.test_why_not import SCENARIOS

TREES = ranker()
TOLD = ("items", "cold_start", "dropped", "dropped_items", "explained", "starved_by", "degraded")


def keeping(shop: Shop, trees: Ranker | None, options: PipelineSettings | None = None) -> Keeping:
    return Keeping(shop.state, encoder(), trees, options)


def written(kept: Kept) -> Kept:
    """Return what is read of a ranking that was written."""
    named = {at + 1: item_bytes(one) for at, one in enumerate(kept.items) if at % 2}
    refs = [at + 1 if at % 2 else item_bytes(one) for at, one in enumerate(kept.items)]
    return unpack(pack(kept, refs), named)


def told(ranked: Ranked) -> dict[str, Any]:
    return {name: getattr(ranked, name) for name in TOLD}


@given(
    st.one_of(st.none(), SCENARIOS),
    st.lists(st.integers(0, 39), max_size=4),
    st.integers(1, 30),
    st.sampled_from(Placement),
    st.booleans(),
    st.fixed_dictionaries(
        {},
        optional={
            "item_id": st.just("lamps-3"),
            "region": st.sampled_from(["DE", "FR"]),
            "age": st.just(17),
            "category": st.just("shoes"),
            "exclude": st.just(("shoes-1", "nothing")),
            "filter": st.just(compile_filter("price < 8", passing=True)),
            "candidates": st.just(("games-1", "shoes-2", "lamps-3", "books-4")),
            "hidden": st.just(Hidden(items=("books-1",), categories=("games",))),
            "tired_of": st.just((item_key("shoes-3"),)),
            "context": st.just({"device": "mobile"}),
        },
    ),
)
@settings(max_examples=25, deadline=None)
def test_what_was_kept_makes_the_very_same_answer(
    document: dict[str, Any] | None,
    clicks: list[int],
    limit: int,
    placement: Placement,
    ranked_by_trees: bool,
    asked: dict[str, Any],
) -> None:
    shop, options = priced_shop(), PipelineSettings(nearest=12, trending=6, new=0)
    shop.put(item("shoes-0", stock=0), item("books-0", regions=["FR"]), item("lamps-0", min_age=18))
    clicked = [shop.item_ids[at] for at in clicks]
    query = Query(
        NOW,
        placement=placement,
        session=session(*clicked) if clicked else None,
        scenario=None if document is None else compiled(document),
        limit=limit,
        seed=2**127 + 5,
        explain=True,
        **asked,
    )
    trees = TREES if ranked_by_trees else None
    answer, kept = keeping(shop, trees, options).recommend_kept(query)
    shop.put(*(item(one, stock=0, title="Other") for one in shop.item_ids))
    shop.trends.apply([(item_key("games-9"), trend(900.0))])
    again = Remade(written(kept), options, trees).answer()
    assert told(again) == told(answer)
    assert told(Remade(written(kept), options).answer()) == told(answer)  # the trees' scores read back


def test_keeping_changes_no_answer() -> None:
    shop, query = Shop(), Query(NOW, session=session("games-3"), limit=8)
    pipeline = keeping(shop, TREES)
    before = pipeline.recommend([query])[0]
    assert told(pipeline.recommend_kept(query)[0]) == told(before)
    assert told(pipeline.recommend([query])[0]) == told(before)


def test_other_trees_make_another_answer() -> None:
    shop, query = Shop(), Query(NOW, session=session("games-3"), limit=8)
    answer, kept = keeping(shop, TREES).recommend_kept(query)
    again = Remade(written(kept), PipelineSettings(), ranker("popularity")).answer()
    assert [one.score for one in again.items] != [one.score for one in answer.items]


@pytest.mark.parametrize("item_id", ["shoes-0", "games-2", "lamps-9"])
def test_why_not_is_said_of_what_was_kept_as_of_what_serves(item_id: str) -> None:
    shop = priced_shop()
    shop.put(item("shoes-0", stock=0))
    query = Query(NOW, session=session("games-3"), limit=4, seed=1, scenario=compiled({"filter": "price < 3"}))
    pipeline = keeping(shop, None)
    now = why_not(pipeline, query, item_id)
    _, kept = pipeline.recommend_kept(query)
    again = Remade(written(kept), PipelineSettings())
    then = why_not(again, again.query, item_id)
    if now.verdict is Verdict.NO_CANDIDATE:
        assert then.verdict in (Verdict.UNKNOWN, Verdict.NO_CANDIDATE)
    else:
        assert (then.verdict, then.dropped_by, then.rank, then.score) == (
            now.verdict,
            now.dropped_by,
            now.rank,
            now.score,
        )
