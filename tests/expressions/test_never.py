"""Conditions that can never be true are found, and what may be true is never called so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expressions.never import allowed, doubts, mentions, typed
from expressions.program import condition
from tests.expressions.rows import FIELDS, RowsFrame


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("price < 10 and price > 20", [16]),
        ("price < 10 and stock > 0 and not price <= 10", [34]),
        ("10 > price and 20 < price", [16]),
        ("price == 3 and price == 4", [16]),
        ("price == 3 and price != 3", [16]),
        ("price in [1, 2] and price > 2", [21]),
        ("price < -5 and price > -5", [16]),
        ('created > "2026-12-01" and created < "2026-11-01"', [28]),
        ('brand == "Acme" and brand in ["Peak"]', [21]),
        ('brand == "Acme" and not brand in ["Acme", "Peak"]', [25]),
        ('under(category, "shoes") and under(category, "tents")', [30]),
        ('under(category, "shoes/trail") and not under(category, "shoes")', [40]),
        ('category == "tents" and under(category, "shoes")', [25]),
        ("attributes.promo and not attributes.promo", [26]),
        ("attributes.promo == true and attributes.promo == false", [30]),
        ("not has(price) and price < 5", [20]),
        ("not (price >= 10 or price <= 20)", [21]),
        ("price < 10 and (stock > 1 or price > 20)", [30]),
        ("stock > 0 or (price < 1 and price > 2)", [29]),
        ('under("shoes", category)', [1]),
        # may be true
        ("price <= 10 and price >= 10", []),
        ("price < 10 or price > 20", []),
        ("price < 10 and stock > 20", []),
        ('under(category, "shoes") and under(category, "shoes/trail")', []),
        ('under(category, "shoes") and not under(category, "shoes/trail")', []),
        ('attributes.x == "a" and attributes.x != "b"', []),
        ("has(price) and price < 5", []),
        ("not has(price) or price < 5", []),
        ('under("shoes/trail", "shoes")', []),
        ('lower(brand) == "acme" and brand == "Acme"', []),
    ],
)
def test_what_can_never_be_true_is_found_at_its_place(text: str, columns: list[int]) -> None:
    found = doubts(typed(text, FIELDS))
    assert [one.place.column - (text[one.place.column - 1] == " ") for one in found] == columns


def test_what_is_said_names_both_and_what_to_do() -> None:
    [found] = doubts(typed("price < 10\nand price > 20", FIELDS))
    assert (found.place.line, found.detail) == (
        2,
        "`price > 20` is never true together with `price < 10` (line 1, column 1): no item can meet both. "
        "Take one away, or join them by `or`",
    )
    [found] = doubts(typed('under("shoes", category)', FIELDS))
    assert found.detail == (
        'under("shoes", category) asks whether "shoes" is below the category of an item: '
        'expected the field first, under(category, "shoes")'
    )


def test_the_texts_that_fields_are_compared_with_are_named() -> None:
    tree = typed('not brand in ["A", "B"] and (under(category, "c/d") or "e" == category) and brand != "F"', FIELDS)
    assert [(one.field, one.relation, one.text) for one in mentions(tree)] == [
        ("brand", "is", "A"),
        ("brand", "is", "B"),
        ("category", "under", "c/d"),
        ("category", "is", "e"),
        ("brand", "is", "F"),
    ]
    assert allowed(typed('brand in ["A", "B"] and not brand != "A"', FIELDS), "brand") == {"A"}
    assert allowed(tree, "brand") is None


simple = st.one_of(
    st.tuples(
        st.sampled_from(["price", "attributes.x"]),
        st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
        st.sampled_from("123"),
    ).map(" ".join),
    st.sampled_from(
        ['attributes.x == "a"', "price in [1, 2]", "price not in [2, 3]", "has(price)", "has(attributes.x)"]
    ),
    st.tuples(st.sampled_from(["category == ", "category != "]), st.sampled_from(['"a"', '"a/b"'])).map("".join),
    st.sampled_from(['under(category, "a")', 'under(category, "a/b")', 'under(category, "b")']),
)
conditions = st.recursive(
    simple,
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["and", "or"]), part).map(lambda it: f"({it[0]} {it[1]} {it[2]})"),
        part.map(lambda it: f"not ({it})"),
    ),
    max_leaves=4,
)
prices: Any = [None, 0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0]
EVERY: list[dict[str, Any]] = [
    {name: value for name, value in (("price", p), ("category", c), ("attributes.x", x)) if value is not None}
    for p in prices
    for c in (None, "a", "a/b", "a/b/c", "b", "c")
    for x in (None, 0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, "a", "b")
]


@given(one=conditions, other=conditions)
@settings(max_examples=300, deadline=None)
def test_two_conditions_that_are_said_never_to_be_true_together_keep_no_row(one: str, other: str) -> None:
    """Of a conjunction of two that by themselves are without a doubt, so that no alternative of `or` is meant."""
    both = f"({one}) and ({other})"
    if " or " in both or "not (" in both or not doubts(typed(both, FIELDS)):
        return
    assert not condition(both, FIELDS).keeps(RowsFrame(EVERY, {})).any()
