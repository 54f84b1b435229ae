"""Each rule alone, their counts, and the limit per category."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from contracts.events import EventCode
from contracts.sessions import Session
from rerank.query import Query
from rerank.rules import (
    KEPT,
    RULES,
    Proposed,
    Rule,
    Visitors,
    count_dropped,
    dropped_by,
    excluded,
    limit_per_category,
    name_dropped,
    names_of,
    other_region,
    out_of_stock,
    page_item,
    seen,
    too_young,
)
from rerank.session_vector import contexts_of
from tests.rerank.shop import NOW, Shop, item, session


def applied(asked: Proposed, rules: Sequence[Rule]) -> tuple[np.ndarray, list[dict[str, int]]]:
    """Return which candidates stay, and how many each rule dropped of every request."""
    by = dropped_by(asked, rules)
    return by == KEPT, count_dropped(by, asked.request, len(asked.contexts), names_of(rules))


def proposed(shop: Shop, visitors: list[Session | None] | None = None, **changes: Any) -> Proposed:
    """Every item of the shop, proposed to every visitor."""
    visitors = visitors or [None]
    b, count = len(visitors), shop.catalogue.count
    fields: dict[str, Any] = {
        "regions": [None] * b,
        "ages": np.zeros(b, np.int16),
        "page_rows": np.full(b, -1, np.int32),
        "hides_viewed": np.zeros(b, np.bool_),
        "hides_taken": np.zeros(b, np.bool_),
        "excluded": np.zeros(0, np.int64),
    }
    contexts = contexts_of([Query(NOW, session=visitor) for visitor in visitors], shop.catalogue, None)
    return Proposed(
        np.repeat(np.arange(b, dtype=np.int32), count),
        np.tile(np.arange(count, dtype=np.int32), b),
        shop.catalogue,
        contexts,
        Visitors(**{**fields, **changes}),
    )


def names(asked: Proposed, mask: np.ndarray) -> list[tuple[int, str]]:
    ids = asked.catalogue.item_ids
    return [(int(request), ids[row]) for request, row in zip(asked.request[mask], asked.rows[mask], strict=True)]


def test_items_without_stock_are_dropped() -> None:
    shop = Shop(per_category=1)
    shop.put(item("shoes-0", stock=0), item("books-0", stock=1))
    asked = proposed(shop)
    assert names(asked, out_of_stock(asked)) == [(0, "shoes-0")]


def test_items_that_are_not_sold_in_a_visitors_region_are_dropped_for_that_visitor() -> None:
    shop = Shop(per_category=1)
    shop.put(item("shoes-0", regions=["DE"]))
    asked = proposed(shop, [None, None, None], regions=["FR", None, "DE"])
    assert names(asked, other_region(asked)) == [(0, "shoes-0")]


def test_items_with_an_age_limit_that_was_not_reached_are_dropped() -> None:
    shop = Shop(per_category=1)
    shop.put(item("shoes-0", min_age=18), item("books-0", min_age=16))
    asked = proposed(shop, [None, None], ages=np.array([17, 18], np.int16))
    assert names(asked, too_young(asked)) == [(0, "shoes-0")]


def test_seen_items_are_dropped_as_the_placement_wants() -> None:
    shop = Shop(per_category=1)
    visitor = session("shoes-0", ("books-0", EventCode.CART), ("lamps-0", EventCode.PURCHASE))
    asked = proposed(
        shop,
        [visitor, visitor, visitor],
        hides_viewed=np.array([True, False, False]),
        hides_taken=np.array([False, True, False]),
    )
    assert names(asked, seen(asked)) == [
        (0, "shoes-0"),
        (0, "books-0"),
        (0, "lamps-0"),
        (1, "books-0"),
        (1, "lamps-0"),
    ]


def test_excluded_items_are_dropped_for_the_request_that_named_them() -> None:
    shop = Shop(per_category=1)
    asked = proposed(shop, [None, None], excluded=np.array([1 * shop.catalogue.count + 2], np.int64))
    assert names(asked, excluded(asked)) == [(1, "lamps-0")]


def test_the_items_own_page_does_not_recommend_it() -> None:
    shop = Shop(per_category=1)
    asked = proposed(shop, [None, None], page_rows=np.array([-1, 3], np.int32))
    assert names(asked, page_item(asked)) == [(1, "games-0")]


def test_a_candidate_is_counted_by_the_first_rule_that_drops_it() -> None:
    shop = Shop(per_category=1)
    shop.put(item("shoes-0", stock=0, min_age=18), item("books-0", min_age=18))
    asked = proposed(shop, [None, None], ages=np.array([0, 30], np.int16))
    kept, counts = applied(asked, RULES)
    assert counts == [{"out_of_stock": 1, "too_young": 1}, {"out_of_stock": 1}]
    assert names(asked, kept) == [(0, "lamps-0"), (0, "games-0"), (1, "books-0"), (1, "lamps-0"), (1, "games-0")]


def test_another_rule_is_another_function_in_the_list() -> None:
    def no_books(candidates: Proposed) -> np.ndarray:
        return candidates.catalogue.category[candidates.rows] == candidates.catalogue.category_code("books")

    asked = proposed(Shop(per_category=1))
    kept, counts = applied(asked, [no_books])
    assert counts == [{"no_books": 1}]
    assert len(names(asked, kept)) == 3


def test_dropped_items_are_named_by_rule_best_first_and_no_more_than_asked_for() -> None:
    shop = Shop(per_category=2)
    shop.put(*(item(f"shoes-{n}", stock=0) for n in (0, 1)), item("books-1", min_age=18))
    asked = proposed(shop, [None, None], ages=np.array([0, 30], np.int16))
    by = dropped_by(asked)
    scores = np.arange(len(by), dtype=np.float32)
    named = [name_dropped(by, scores, asked, at, names_of(RULES), 10) for at in (0, 1)]
    assert named == [
        {"out_of_stock": ["shoes-1", "shoes-0"], "too_young": ["books-1"]},
        {"out_of_stock": ["shoes-1", "shoes-0"]},
    ]
    assert name_dropped(by, scores, asked, 1, names_of(RULES), 1) == {"out_of_stock": ["shoes-1"]}


def test_a_category_gets_its_first_places_in_rank_order() -> None:
    request = np.array([0, 0, 0, 0, 0, 1, 1], np.int32)
    category = np.array([5, 5, 6, 5, 0, 5, 5], np.int32)
    order = np.array([3, 1, 4, 0, 2, 6, 5])
    layout = limit_per_category(request, category, order, np.array([1, 0], np.int32))
    assert layout.shown.tolist() == [3, 4, 2, 6, 5]
    assert layout.over.tolist() == [1, 0]


def test_items_without_a_category_are_not_limited() -> None:
    zeros = np.zeros(4, np.int32)
    layout = limit_per_category(zeros, zeros, np.arange(4), np.array([1], np.int32))
    assert layout.shown.tolist() == [0, 1, 2, 3]
