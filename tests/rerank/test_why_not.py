"""Why an item is not on a page: every kind of reason, and every change that is named, applied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.scenarios import Limit, Pin
from rerank.query import PipelineSettings, Query
from rerank.scenarios.compiled import compile_filter
from rerank.trials import Trials
from rerank.why_not import Step, Verdict, WhyNot, why_not
from tests.rerank.shop import NOW, Shop, encoder, item, session
from tests.rerank.test_scenarios import compiled, priced_shop

BOOSTED = {"boosts": [{"if": "price > 3", "multiply": 2}]}


def trials(shop: Shop, options: PipelineSettings | None = None) -> Trials:
    return Trials(shop.state, encoder(), None, options)


def asked(document: dict[str, Any] | None = None, *clicks: str, **fields: Any) -> Query:
    scenario = None if document is None else compiled(document)
    visitor = session(*clicks) if clicks else None
    return Query(NOW, session=visitor, scenario=scenario, **{"limit": 6, "seed": 7, **fields})


def shown(shop: Shop, query: Query, options: PipelineSettings | None = None) -> list[str]:
    return [one.item_id for one in trials(shop, options).recommend([query])[0].items]


def kinds(told: WhyNot) -> list[list[str]]:
    return [[step.kind for step in change] for change in told.changes]


def step(told: WhyNot, *wanted: str) -> Step:
    """Return the last step of the change that takes steps of these kinds."""
    [found] = [change for change in told.changes if [one.kind for one in change] == list(wanted)]
    return found[-1]


def test_a_shown_item_is_told_with_its_place() -> None:
    shop, query = Shop(), asked(None, "games-3")
    third = shown(shop, query)[2]
    told = why_not(trials(shop), query, third)
    assert (told.verdict, told.position, told.says) == (Verdict.SHOWN, 3, "It is shown, at place 3.")


def test_an_item_that_the_catalogue_lacks_is_unknown() -> None:
    told = why_not(trials(Shop()), asked(None, "games-3"), "games-99")
    assert told.verdict is Verdict.UNKNOWN
    assert not told.changes


def test_an_item_without_stock_would_be_shown_with_some() -> None:
    shop, query = Shop(), asked(None, "games-3")
    first = shown(shop, query)[0]
    shop.put(item(first, stock=0))
    told = why_not(trials(shop), query, first)
    assert told.dropped_by == ["out_of_stock"]
    assert told.changes[0] == [Step("rule", "stock > 0", "out_of_stock")]
    shop.put(item(first, stock=1))
    assert first in shown(shop, query)


def test_a_filter_clause_that_an_item_does_not_meet_is_named() -> None:
    shop = priced_shop()
    document = {"filter": 'price > 2 and brand == "odd"'}
    told = why_not(trials(shop), asked(document, "shoes-3"), "shoes-2")
    assert told.dropped_by == ['filter: brand == "odd"']
    wanted = ("filter", *(() if "shoes-2" in shown(shop, asked({"filter": "price > 2"}, "shoes-3")) else ("limit",)))
    assert step(told, *wanted)


def test_a_clause_of_the_requests_own_filter_is_named_too() -> None:
    shop = priced_shop()
    query = asked(None, "shoes-3", filter=compile_filter("price > 5", passing=True))
    told = why_not(trials(shop), query, "shoes-2")
    assert told.dropped_by == ["filter: price > 5"]
    assert step(told, "filter").value == "price > 5"
    assert "shoes-2" in shown(shop, asked(None, "shoes-3"))


def test_what_was_seen_or_excluded_is_said() -> None:
    shop = Shop()
    told = why_not(trials(shop), asked(None, "games-3", exclude=("games-3",)), "games-3")
    assert told.dropped_by == ["seen", "excluded"]
    [first, *_] = told.changes
    assert [one.says for one in first] == [
        'not seen by the visitor, or `seen` of the scenario set to "none"',
        "not named in `exclude` or shown on an earlier page",
    ]


def test_a_limit_that_holds_an_item_back_is_said_and_widened() -> None:
    shop, query = priced_shop(), asked({"limits": [{"field": "category", "most": 1}]}, "games-3")
    held = next(
        told
        for told in (why_not(trials(shop), query, f"games-{number}") for number in range(10))
        if told.verdict is Verdict.HELD_BACK
    )
    most = step(held, "limits")
    wider = replace(query, scenario=compiled({"limits": most.value}))
    assert held.item_id in shown(shop, wider)
    narrower = [{**most.value[0], "most": most.value[0]["most"] - 1}]
    assert held.item_id not in shown(shop, replace(query, scenario=compiled({"limits": narrower})))


def test_an_outranked_item_needs_a_score_and_not_a_thousandth_less() -> None:
    shop, query = priced_shop(), asked(BOOSTED, "games-3")
    tried = trials(shop)
    told = next(
        one
        for one in (why_not(tried, query, item_id) for item_id in shop.item_ids)
        if one.verdict is Verdict.OUTRANKED and one.score
    )
    added, score = step(told, "score").value, told.score
    assert score is not None

    def boosted(extra: float) -> list[str]:
        multiply = (score + extra) / score
        also = {"if": f'item_id == "{told.item_id}"', "multiply": multiply}
        return shown(shop, asked({"boosts": [*BOOSTED["boosts"], also]}, "games-3"))

    assert told.item_id in boosted(added + 1e-6)
    assert told.item_id not in boosted(0.98 * added)


def test_a_longer_page_shows_what_is_outranked() -> None:
    shop, query = Shop(), asked(None, "games-3")
    told = next(
        one
        for one in (why_not(trials(shop), query, item_id) for item_id in shop.item_ids)
        if one.verdict is Verdict.OUTRANKED
    )
    longer = step(told, "limit").value
    assert told.item_id in shown(shop, replace(query, limit=longer))
    assert told.item_id not in shown(shop, replace(query, limit=longer - 1))


def test_another_diversity_is_named_where_one_is_set() -> None:
    shop, document = priced_shop(), {"diversity": 0.9, "limits": []}
    query = asked(document, "games-3")
    told = next(
        one
        for one in (why_not(trials(shop), query, item_id) for item_id in shop.item_ids)
        if ["diversity"] in kinds(one)
    )
    with_it = {**document, "diversity": step(told, "diversity").value}
    assert told.item_id in shown(shop, asked(with_it, "games-3"))


def test_what_no_source_brought_is_told_by_the_source_that_could_have() -> None:
    shop = Shop()
    few = PipelineSettings(nearest=1, covisit=0, covisit_recent=0, trending=1, recent=0, new=0)
    query = asked(None, "games-3", limit=2)
    tried = trials(shop, few)
    missing = [why_not(tried, query, item_id) for item_id in shop.item_ids]
    told = next(one for one in missing if one.verdict is Verdict.NO_CANDIDATE and one.changes[0][0].kind == "source")
    [change] = [one for one in told.changes if [step.kind for step in one] == ["source"]] or [told.changes[0]]
    [(setting, size)] = change[0].value.items()
    [source] = [one for one in told.found_by if one.setting == setting]
    assert (source.place, source.size) == (size, getattr(few, setting))
    if len(change) == 1:
        assert told.item_id in shown(shop, query, few.model_copy(update={setting: size}))
    assert told.says.startswith("It was no candidate: it could come from ")


def test_an_item_that_is_no_given_candidate_would_be_ranked_as_one() -> None:
    query = asked(None, "games-3", candidates=("games-1", "games-2"), limit=3)
    told = why_not(trials(Shop()), query, "games-5")
    assert told.verdict is Verdict.NO_CANDIDATE
    assert kinds(told)[0] == ["candidates"]


def test_looking_into_a_page_changes_nothing_of_the_next() -> None:
    shop, query = priced_shop(), asked({"explore": 0.5, "diversity": 0.3, "limits": [], **BOOSTED}, "games-3")
    tried = trials(shop)
    before = tried.recommend([query])[0].items
    for item_id in shop.item_ids[:8]:
        why_not(tried, query, item_id)
    assert tried.recommend([query])[0].items == before


SCENARIOS = st.fixed_dictionaries(
    {},
    optional={
        "filter": st.sampled_from(['brand == "odd"', "price > 4", 'price > 2 and brand == "even"']),
        "boosts": st.just(BOOSTED["boosts"]),
        "diversity": st.sampled_from([0.2, 0.6]),
        "limits": st.lists(
            st.builds(dict, field=st.sampled_from(["category", "brand"]), most=st.integers(1, 3)),
            max_size=2,
            unique_by=lambda one: one["field"],
        ),
        "explore": st.just(0.3),
        "pins": st.just([{"item_id": "lamps-9", "position": 2}]),
        "new_share": st.just(0.4),
        "bury": st.just(["books-0", "games-2"]),
    },
)


@given(SCENARIOS, st.integers(0, 39), st.integers(1, 10), st.integers(0, 39))
@settings(max_examples=12, deadline=None)
def test_every_change_that_can_be_made_shows_the_item(
    document: dict[str, Any], clicked: int, limit: int, wanted: int
) -> None:
    shop, options = priced_shop(), PipelineSettings(nearest=12, trending=6, recent=0, new=0)
    query = asked(document, shop.item_ids[clicked], limit=limit)
    item_id = shop.item_ids[wanted]
    told = why_not(trials(shop, options), query, item_id)
    assert (told.verdict is Verdict.SHOWN) == (item_id in shown(shop, query, options))
    for change in told.changes:
        if made := _made(query, document, change, options):
            assert item_id in shown(shop, *made), (change, told)


def _made(
    query: Query, document: dict[str, Any], change: list[Step], options: PipelineSettings
) -> tuple[Query, PipelineSettings] | None:
    """Return the question with a change made as a shop would make it; None for one that it could not."""
    for one in change:
        if one.kind == "limit":
            query = replace(query, limit=one.value)
        elif one.kind == "source":
            options = options.model_copy(update=one.value)
        elif one.kind == "filter":
            clauses = [part for part in document["filter"].split(" and ") if part != one.value]
            document = {**document, "filter": " and ".join(clauses) or None}
        elif one.kind == "pin":
            document = {**document, "pins": [Pin(**one.value), *document.get("pins", [])]}
        elif one.kind == "limits":
            document = {**document, "limits": [Limit(**limit) for limit in one.value]}
        elif one.kind == "diversity":
            document = {**document, "diversity": one.value}
        else:
            return None  # a score, or a rule about the visitor
    return replace(query, scenario=compiled(document)), options


@pytest.mark.parametrize("value", [0.0314159, 12.3456, 9.999e-5])
def test_numbers_are_rounded_up(value: float) -> None:
    from rerank.why_not import _rounded_up

    rounded = _rounded_up(value)
    assert value <= rounded < value * 1.01
    assert float(np.float64(f"{rounded:.3g}")) == rounded
