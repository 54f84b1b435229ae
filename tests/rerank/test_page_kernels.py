"""Windows, orders, rules, pages and reasons by kernels are held to their plain twins on random shops and requests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.events import EventCode
from rerank.features import Inputs
from rerank.order import positions_by_score, retrieval_scores
from rerank.pages import Filling, Pages, Wanted, lay_out, newest_rows
from rerank.query import Query
from rerank.reasons import explain
from rerank.rules import RULES, Proposed, Rule, Visitors, count_dropped, dropped_by, names_of
from rerank.session_vector import contexts_of
from tests.rerank import oracle_pages as plain
from tests.rerank.random_shops import random_inputs
from tests.rerank.shop import NOW, Shop, session

seeds = st.integers(0, 100_000)


def odd_rows(proposed: Proposed) -> np.ndarray:
    """A site's own rule."""
    odd: np.ndarray = proposed.rows % 5 == 3
    return odd


def visitors(random: np.random.Generator, inputs: Inputs) -> Visitors:
    b, count = len(inputs.contexts), inputs.catalogue.count
    excluded = random.integers(0, b * count, int(random.choice([0, 3, 40])))
    wants_category = random.random() < 0.4
    return Visitors(
        regions=random.choice([None, "DE", "FR", "Mars"], b).tolist(),
        ages=random.choice([0, 17, 40], b).astype(np.int16),
        page_rows=random.integers(-1, count, b).astype(np.int32),
        hides_viewed=random.random(b) < 0.5,
        hides_taken=random.random(b) < 0.5,
        excluded=np.sort(excluded),
        categories=random.choice([None, "", "a", "a/b", "no"], b).tolist() if wants_category else [None] * b,
    )


def proposed(random: np.random.Generator, inputs: Inputs) -> Proposed:
    candidates = inputs.candidates
    return Proposed(candidates.request, candidates.rows, inputs.catalogue, inputs.contexts, visitors(random, inputs))


def some_rules(random: np.random.Generator) -> list[Rule]:
    """The rules as they are served, or some of them in any order; a site's own among them."""
    rules: list[Rule] = [*RULES, odd_rows]
    if random.random() < 0.5:
        random.shuffle(rules)  # type: ignore[arg-type]
        rules = rules[: int(random.integers(0, len(rules) + 1))]
    return rules


def some_scores(random: np.random.Generator, count: int) -> np.ndarray:
    """Scores with equals among them."""
    return random.normal(size=count).round(int(random.choice([0, 1, 6]))).astype(np.float32)


@settings(max_examples=60)
@given(seed=seeds)
def test_the_first_rule_that_drops_a_candidate_is_that_of_the_rules_asked_one_by_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    for inputs in random_inputs(seed):
        asked, rules = proposed(random, inputs), some_rules(random)
        np.testing.assert_array_equal(dropped_by(asked, rules), plain.dropped_by(asked, rules))


def test_regions_beyond_those_with_a_bit_are_asked_for_by_name() -> None:
    shop = Shop(per_category=1)
    shop.catalogue.words.further_regions["far"] = {2}
    shop.catalogue.region_mask[:4] = 0
    contexts = contexts_of([Query(NOW), Query(NOW)], shop.catalogue, None)
    nothing = np.zeros(2, np.bool_)
    asked = Proposed(
        np.repeat(np.arange(2, dtype=np.int32), 4),
        np.tile(np.arange(4, dtype=np.int32), 2),
        shop.catalogue,
        contexts,
        Visitors(
            ["far", None],
            np.zeros(2, np.int16),
            np.full(2, -1, np.int32),
            nothing,
            nothing,
            np.zeros(0, np.int64),
        ),
    )
    assert dropped_by(asked).tolist() == [1, 1, -1, 1, -1, -1, -1, -1]


@settings(max_examples=80)
@given(seed=seeds)
def test_pages_and_drops_and_reasons_equal_those_laid_out_request_by_request(seed: int) -> None:
    random = np.random.default_rng(seed)
    for inputs in random_inputs(seed):
        contexts, candidates, catalogue = inputs.contexts, inputs.candidates, inputs.catalogue
        asked, rules, b = proposed(random, inputs), some_rules(random), len(contexts)
        scores = some_scores(random, len(candidates))
        order = positions_by_score(candidates, scores)
        np.testing.assert_array_equal(order, plain.order_of(candidates, scores))
        wanted = Wanted(
            random.choice([1, 5, 20, 200], b).astype(np.int32),
            random.choice([0, 1, 2, 10], b).astype(np.int32),
            random.random(b) < 0.7,
        )
        trending = random.permutation(catalogue.count)[: int(random.choice([0, 5, 200]))].astype(np.int32)
        filling = Filling(lambda rows=trending: rows, lambda _, held=catalogue: newest_rows(held))  # type: ignore[misc]
        pages, by = lay_out(asked, order, scores, wanted, filling, rules)
        each, plain_by = plain.lay_out(asked, order, scores, wanted, filling, rules)
        np.testing.assert_array_equal(by, plain_by)
        reasons = explain(pages, contexts, candidates, catalogue)
        for at, page in enumerate(each):
            mine = slice(pages.starts[at], pages.starts[at + 1])
            assert pages.positions[mine].tolist() == page.positions.tolist()
            assert pages.rows[mine].tolist() == page.rows.tolist()
            assert pages.scores[mine].tolist() == page.scores.tolist()
            assert reasons[mine] == plain.explain(page.positions, page.rows, at, contexts, candidates, catalogue)
        names = names_of(rules)
        counted = [
            {names[place]: many for place, many in enumerate(np.bincount(mine[mine >= 0]).tolist()) if many}
            for mine in (by[candidates.request == at] for at in range(b))
        ]
        assert count_dropped(by, candidates.request, b, names) == counted


@settings(max_examples=60)
@given(seed=seeds)
def test_retrieval_scores_equal_the_plain_ones(seed: int) -> None:
    random = np.random.default_rng(seed)
    for inputs in random_inputs(seed):
        if random.random() < 0.3:
            inputs.candidates.given_rank[:] = random.permutation(len(inputs.candidates))
        with np.errstate(invalid="ignore"):
            wanted = plain.retrieval_scores(inputs.candidates, inputs.contexts, inputs.state)
        found = retrieval_scores(inputs.candidates, inputs.contexts, inputs.state)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


@given(
    values=st.lists(st.one_of(st.just(float("nan")), st.floats(-3, 3, width=16)), max_size=70),
    cut=st.integers(0, 70),
)
@pytest.mark.slow
def test_scores_are_ordered_best_first_equals_as_they_stand_and_nan_last(values: list[float], cut: int) -> None:
    inputs = next(random_inputs(3))
    scores, cut = np.array(values, np.float32), min(cut, len(values))
    request = np.repeat(np.arange(2, dtype=np.int32), [cut, len(values) - cut])
    names = inputs.candidates.__dataclass_fields__
    columns = {name: np.zeros(len(values), np.float32) for name in names}
    candidates = type(inputs.candidates)(
        **{**columns, "request": request, "starts": np.array([0, cut, len(values)], np.intp)}
    )
    np.testing.assert_array_equal(positions_by_score(candidates, scores), plain.order_of(candidates, scores))


@settings(max_examples=60)
@given(seed=seeds)
def test_windows_lie_side_by_side_newest_first_behind_a_leading_page(seed: int) -> None:
    random = np.random.default_rng(seed)
    shop = Shop(per_category=3)
    known = [*shop.item_ids[:5], "unknown"]
    queries = []
    for _ in range(int(random.choice([1, 2, 8]))):
        clicks = [(str(random.choice(known)), EventCode(int(random.integers(1, 4)))) for _ in range(random.integers(4))]
        visitor = session(*clicks) if random.random() < 0.8 else None
        page = str(random.choice(known)) if random.random() < 0.6 else None
        queries.append(Query(NOW + int(random.integers(99)), session=visitor, item_id=page))
    found = contexts_of(queries, shop.catalogue, None)
    laid, rows, lengths, leads = plain.windows(queries, shop.catalogue)
    for ours, theirs in (
        (found.keys, laid["item"]),
        (found.codes, laid["code"]),
        (found.ts_ms, laid["ts_ms"]),
        (found.rows, rows),
        (found.lengths, lengths),
        (found.page_leads, leads),
        (found.now_ms, [query.now_ms for query in queries]),
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_no_page_has_no_reasons() -> None:
    inputs = next(random_inputs(3))
    empty = np.zeros(0, np.int32)
    pages = Pages(empty.astype(np.intp), empty, empty.astype(np.float32), np.zeros(len(inputs.contexts) + 1, np.intp))
    assert explain(pages, inputs.contexts, inputs.candidates, inputs.catalogue) == []
