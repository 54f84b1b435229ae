"""What can be said in the filter language, what it means, and what is said of an expression that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from expressions.errors import ExpressionError
from expressions.program import condition
from expressions.types import Scope
from tests.expressions.rows import FIELDS, RowsFrame

SHOP = [
    {"price": 20.0, "stock": 3.0, "category": "shoes/trail", "brand": "Acme", "regions": ("FR", "DE")},
    {"price": 80.0, "stock": 0.0, "category": "shoes", "attributes.promo": True, "attributes.tags": ("sale", "new")},
    {"stock": 9.0, "category": "tents", "brand": "Peak", "attributes.size": 42.0, "attributes.colour": "Red"},
    {"price": 5.0, "stock": 1.0, "category": "shoestrings", "brand": "acme", "attributes.until": "2026-12-01"},
]
SHARED = {
    "context.size": 42.0,
    "context.paint": "Red",
    "context.device": "phone",
    "context.brand": "Peak",
    "session.brands": ("Peak", "Acme"),
}


def kept(text: str) -> list[int]:
    return condition(text, FIELDS).keeps(RowsFrame(SHOP, SHARED)).nonzero()[0].tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("price < 50", [0, 3]),
        ("not price < 50", [1]),
        ("price < 50 or not price < 50", [0, 1, 3]),
        ("price != 20", [1, 3]),
        ("price / stock > 6", [0]),
        ("price * 2 - -1 == 41", [0]),
        ("-price < -50", [1]),
        ('under(category, "shoes")', [0, 1]),
        ('not under(category, "shoes") and stock > 0', [2, 3]),
        ('brand == "Acme"', [0]),
        ('lower(brand) == "acme"', [0, 3]),
        ('brand in ["Acme", "Peak"]', [0, 2]),
        ('brand not in ["Acme"]', [2, 3]),
        ('not brand in ["Acme"]', [2, 3]),
        ("stock in [1, 3, -9]", [0, 3]),
        ("brand in []", []),
        ('"FR" in regions', [0]),
        ("count(regions) == 2", [0]),
        ("has(brand)", [0, 2, 3]),
        ("not has(attributes.size)", [0, 1, 3]),
        ("attributes.promo", [1]),
        ("attributes.promo == true", [1]),
        ("attributes.promo != false", [1]),
        ("not attributes.promo", []),
        ("attributes.size >= 42", [2]),
        ('attributes.colour == "Red"', [2]),
        ('attributes["colour"] == "Red"', [2]),
        ('"sale" in attributes.tags', [1]),
        ('attributes.until >= "2026-11-30"', [3]),
        ('attributes.until < date("2026-11-30T00:00:00+01:00")', []),
        ("hours_until(attributes.until) > 0", [3]),
        ('context.device == "phone"', [0, 1, 2, 3]),
        ('context.nothing == "phone"', []),
        ("brand == context.brand", [2]),
        ("attributes.size == context.size", [2]),
        ("not attributes.size == context.size", []),
        ("attributes.size <= context.size", [2]),
        ("attributes.colour == context.paint", [2]),
        ("attributes.colour != context.device", [2]),
        ("attributes.colour == context.size", []),  # a text and a number: unknown
        ("attributes.colour != context.size", []),
        ("attributes.tags == attributes.tags", []),  # lists: unknown
        ("attributes.promo == attributes.promo", [1]),
        ("attributes.until < attributes.until", []),
        ("attributes.until >= attributes.until", [3]),
        ("brand in session.brands", [0, 2]),
        ("brand in session.brands and price < 50", [0]),
        ('starts_with(category, "shoe") and not contains(category, "strings")', [0, 1]),
        ("min(price, 30) == 30 and max(stock, 1) == 1 and abs(price) > 1", [1]),
        ("true", [0, 1, 2, 3]),
        ("(price < 10 or price > 50) and stock >= 0", [1, 3]),
    ],
)
def test_what_an_expression_keeps(text: str, rows: list[int]) -> None:
    assert kept(text) == rows


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("price <", 1, 8, 'expected (, -, a field, a function, a number, a text in "quotes", false, true; got the end'),
        ("price < 5 5", 1, 11, "got '5'"),
        ("price < 50,5", 1, 11, "write a number with a point, not a comma: expected"),
        ("min(price, 5,,5) < 3", 1, 14, "expected"),
        ("price = 5", 1, 7, "write `==` to compare: expected"),
        ("price < 5 && stock > 0", 1, 11, "write `and`: expected"),
        ("price < 5 || stock > 0", 1, 11, "write `or`: expected"),
        ("price < 5 AND stock > 0", 1, 11, "write `and` in small letters: expected"),
        ("price < 5 ORDER", 1, 11, "expected"),
        ("!(price < 5)", 1, 1, "write `not`: expected"),
        ("brand == 'Acme'", 1, 10, 'write texts in "double quotes": expected'),
        ("brand == \u201cAcme\u201d", 1, 10, 'write texts in "double quotes": expected'),
        ("stock > 0\n and pric < 5", 2, 6, "no field is called pric: did you mean price?"),
        ('colour == "red"', 1, 1, "no field is called colour: there are age_hours, brand, category, created, price"),
        ('price < "cheap"', 1, 9, "expected a number, got text"),
        ('price == "cheap"', 1, 10, "expected a number, got text"),
        ('brand < "b"', 1, 1, "expected a time, got text"),
        ("brand < category", 1, 1, "text cannot be compared by <"),
        ("brand and stock > 0", 1, 1, "expected true or false, got text"),
        ('price in [1, "a"]', 1, 11, "expected a list of texts, or one of numbers"),
        ("under(category)", 1, 1, "expected 2 arguments, got 1"),
        ('below(category, "a")', 1, 1, "no function is called below: there are abs, contains, count"),
        ("has(1)", 1, 5, "expected a field"),
        ('created > "tomorrow"', 1, 11, 'expected a date or a time such as "2026-11-27T08:00:00Z", got "tomorrow"'),
        ('created > "0001-01-01T00:00:00+23:00"', 1, 11, "expected a date or a time"),
        ("price + 1", 1, 1, "expected true or false, got a number"),
        ('"a\nb" == brand', 1, 1, "got '\"'"),
        ("", 1, 1, "got the end"),
        ("not " * 100 + "true", 1, 1, "expected at most 60 parts inside each other"),
        ("(" * 4000 + "true" + ")" * 4000, 1, 1, "expected at most 8000 characters, got 8004"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, line: int, column: int, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        condition(text, FIELDS)
    assert said in caught.value.detail
    if not text.startswith("not not"):
        assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        (
            'price<50 and (stock > 0 and not brand in ["A\\"c"])',
            [("price < 50", Scope.ITEM), ("stock > 0", Scope.ITEM), ('not brand in ["A\\"c"]', Scope.ITEM)],
        ),
        ("age_hours < 24 or price == 1.5", [("age_hours < 24 or price == 1.5", Scope.CLOCK)]),
        ("hours_since(created) < 2", [("hours_since(created) < 2", Scope.CLOCK)]),
        ("brand == context.brand and true", [("brand == context.brand", Scope.REQUEST), ("true", Scope.ITEM)]),
        ('created >= "2026-11-27"', [('created >= "2026-11-27T00:00:00Z"', Scope.ITEM)]),
        ("(1 + 2) * price > -(3 - 4 - (5 - 6)) / 2", [("(1 + 2) * price > -(3 - 4 - (5 - 6)) / 2", Scope.ITEM)]),
        ('attributes["shoe size"] > 40', [('attributes["shoe size"] > 40', Scope.ITEM)]),
    ],
)
def test_a_condition_is_parted_into_clauses_that_say_what_they_read(text: str, clauses: list[Any]) -> None:
    assert [(clause.text, clause.scope) for clause in condition(text, FIELDS).clauses] == clauses


def test_a_condition_has_so_many_clauses_and_no_more() -> None:
    assert len(condition(" and ".join(["price != 1"] * 100), FIELDS).clauses) == 100
    with pytest.raises(ExpressionError, match="line 1, column 1501: expected at most 100 conditions joined by `and`"):
        condition(" and ".join(["price != 1"] * 101), FIELDS)


def test_words_that_come_later_are_known() -> None:
    program = condition('brand == "Acme"', FIELDS)
    assert program.keeps(RowsFrame(SHOP[2:], SHARED)).tolist() == [False, False]
    assert program.keeps(RowsFrame(SHOP[:1], SHARED)).tolist() == [True]
