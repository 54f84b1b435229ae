"""The arrays hold what a plain evaluator says of each row, for drawn expressions and rows."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expressions.check import check
from expressions.errors import ExpressionError
from expressions.parse import parse
from expressions.program import condition
from expressions.types import Type
from expressions.write import text_of
from tests.expressions.oracle import value_of
from tests.expressions.rows import FIELDS, RowsFrame

NOW_MS = 1_790_000_000_000.0
numbers = st.sampled_from([0.0, 1.0, 2.0, -3.0, 0.5, 50.0])
texts = st.sampled_from(["", "a", "A", "a/b", "a/bc", "2026-11-27", "b"])
lists = st.lists(texts, max_size=3).map(tuple)
anything = st.one_of(numbers, texts, lists, st.booleans())


def row_of(fields: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


items = row_of(
    {
        "price": numbers,
        "stock": numbers,
        "category": texts,
        "brand": texts,
        "regions": lists,
        "created": st.sampled_from([NOW_MS, NOW_MS - 3_600_000.0, 0.0]),
        "age_hours": numbers,
        "attributes.x": anything,
        "attributes.y": anything,
    }
)
shared = row_of({"session.brands": lists, "context.x": anything, "context.y": anything})


def quoted(text: str) -> str:
    return f'"{text}"'


number_texts = st.recursive(
    st.sampled_from(["price", "stock", "age_hours", "attributes.x", "context.x", "count(regions)", "2", "0", "0.5"])
    | st.sampled_from(["hours_since(created)", "hours_until(attributes.y)", "count(attributes.x)"]),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from("+-*/"), part).map(lambda it: f"({it[0]} {it[1]} {it[2]})"),
        part.map(lambda it: f"-{it}"),
        part.map(lambda it: f"abs({it})"),
        st.tuples(st.sampled_from(["min", "max"]), part, part).map(lambda it: f"{it[0]}({it[1]}, {it[2]})"),
    ),
    max_leaves=4,
)
fields_of_text = st.sampled_from(["category", "brand", "attributes.x", "attributes.y", "context.x", "lower(brand)"])
text_texts = fields_of_text | texts.map(quoted)
open_fields = st.sampled_from(["attributes.x", "attributes.y", "context.x", "context.y"])
comparisons = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
simple = st.one_of(
    st.tuples(number_texts, comparisons, number_texts).map(" ".join),
    st.tuples(text_texts, st.sampled_from(["==", "!="]), text_texts).map(" ".join),
    st.tuples(st.sampled_from(["under", "contains", "starts_with"]), text_texts, text_texts).map(
        lambda it: f"{it[0]}({it[1]}, {it[2]})"
    ),
    st.tuples(text_texts, st.sampled_from(["in", "not in"]), st.lists(texts, max_size=3)).map(
        lambda it: f"{it[0]} {it[1]} [{', '.join(map(quoted, it[2]))}]"
    ),
    st.tuples(number_texts, st.sampled_from(["in", "not in"])).map(lambda it: f"{it[0]} {it[1]} [0, 2, -3]"),
    st.tuples(text_texts, st.sampled_from(["regions", "session.brands", "attributes.x", "context.x"])).map(
        lambda it: f"{it[0]} in {it[1]}"
    ),
    st.tuples(open_fields, comparisons, open_fields).map(" ".join),
    st.sampled_from(["has(price)", "has(attributes.x)", "has(context.x)", "attributes.y", "true", "false"]),
    st.sampled_from(['created >= "2026-09-01"', 'attributes.x < "2026-11-28"', "attributes.x == true"]),
)
conditions = st.recursive(
    simple,
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["and", "or"]), part).map(lambda it: f"({it[0]} {it[1]} {it[2]})"),
        part.map(lambda it: f"not ({it})"),
        st.tuples(part, st.sampled_from(["==", "!="]), part).map(lambda it: f"(({it[0]}) {it[1]} ({it[2]}))"),
    ),
    max_leaves=5,
)


@given(text=conditions, rows=st.lists(items, max_size=5), given_once=shared)
@settings(max_examples=400, deadline=None)
def test_arrays_say_of_each_row_what_the_plain_evaluator_says(
    text: str, rows: list[dict[str, Any]], given_once: dict[str, Any]
) -> None:
    try:
        tree = check(parse(text), FIELDS, Type.BOOL)
    except ExpressionError:  # a text that is no time, say: what is refused has no meaning
        return
    expected = [value_of(tree, {**row, **given_once}, NOW_MS) is True for row in rows]
    assert condition(text, FIELDS).keeps(RowsFrame(rows, given_once, NOW_MS)).tolist() == expected


@given(
    text=st.tuples(open_fields, comparisons, open_fields).map(" ".join),
    rows=st.lists(items, max_size=5),
    given_once=shared,
    negated=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_two_open_fields_compare_as_the_plain_evaluator_says(
    text: str, rows: list[dict[str, Any]], given_once: dict[str, Any], negated: bool
) -> None:
    text = f"not {text}" if negated else text
    tree = check(parse(text), FIELDS, Type.BOOL)
    expected = [value_of(tree, {**row, **given_once}, NOW_MS) is True for row in rows]
    assert condition(text, FIELDS).keeps(RowsFrame(rows, given_once, NOW_MS)).tolist() == expected


@given(text=conditions)
@settings(max_examples=200, deadline=None)
def test_an_expression_written_again_is_the_same(text: str) -> None:
    try:
        tree = check(parse(text), FIELDS, Type.BOOL)
    except ExpressionError:
        return
    again = text_of(tree)
    assert text_of(check(parse(again), FIELDS, Type.BOOL)) == again


@given(text=st.text(max_size=60) | st.text(alphabet="price<=>()[]\"'.,andorti 0123456789-\n", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_an_expression_or_refused_with_its_place(text: str) -> None:
    lines = text.split("\n")
    with suppress(ExpressionError):
        condition(text, FIELDS)
        return
    with pytest.raises(ExpressionError) as caught:
        condition(text, FIELDS)
    assert 1 <= caught.value.line <= len(lines)
    assert 1 <= caught.value.column <= len(lines[caught.value.line - 1]) + 1
