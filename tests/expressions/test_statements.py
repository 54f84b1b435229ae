"""Statements about pages: what they mean, which pages stand against them, and what is said of one that is wrong."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expressions.errors import ExpressionError
from expressions.statements import Verdict, read_statements
from tests.expressions.rows import FIELDS, RowsFrame

MEASURES = {"hit_rate": 0.25, "mrr": 0.1, "diversity": math.nan}
PAGES = [
    RowsFrame(
        [
            {"price": 10.0, "brand": "Acme", "category": "shoes/trail"},
            {"price": 30.0, "brand": "Peak", "category": "shoes"},
            {"price": 50.0, "brand": "Acme", "category": "tents"},
        ],
        {"context.device": "phone", "session.brands": ("Acme",)},
    ),
    RowsFrame([{"price": 20.0, "brand": "Acme"}, {"brand": "Acme"}], {"context.device": "desktop"}),
    RowsFrame([{"stock": 1.0}], {}),
    RowsFrame([], {}),
]


def judged(text: str, pages: list[RowsFrame] = PAGES) -> Verdict:
    [statement] = read_statements(text, FIELDS, MEASURES)
    return statement.judge(pages, MEASURES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("share(pages, distinct(brand) >= 2) >= 0", 0.25),
        ("share(pages, distinct(brand) >= 1) >= 0", 0.5),
        ('share(pages, count(brand == "Acme") <= 1) >= 0', 0.5),
        ("share(pages, count() >= 2) >= 0", 0.5),
        ("mean(pages, count()) >= 0", 1.5),
        ("mean(pages, mean(price)) >= 0", 25.0),
        ("max(pages, max(price)) >= 0", 50.0),
        ("min(pages, sum(price)) >= 0", 20.0),
        ("mean(pages, max(price) - min(price)) >= 0", 20.0),
        ("mean(pages, max(count(), 2)) >= 0", 2.25),
        ("share(pages, any(price > 40)) >= 0", 0.25),
        # the second page has an item without a price: not all of it is known
        ("share(pages, all(price < 60)) >= 0", 0.5),
        ("share(pages, not all(price < 60)) >= 0", 0.0),
        ('share(pages, context.device == "phone") >= 0', 0.25),
        ('share(pages, not context.device == "phone" or distinct(brand) > 5) >= 0', 0.25),
        ('share(pages, count(under(category, "shoes")) == 2 and "Acme" in session.brands) >= 0', 0.25),
        ("share(pages, count(session.brands) >= 1) >= 0", 0.25),
        ("hit_rate >= 0", 0.25),
        ("hit_rate / mrr >= 0", 2.5),
        ("0 <= hit_rate", 0.25),
        ("2 * mean(pages, count()) - 1 >= 0", 2.0),
    ],
)
def test_what_a_statement_counts(text: str, value: float) -> None:
    found = judged(text)
    assert found.value == pytest.approx(value)
    assert found.holds
    assert found.breaking == []


def test_a_statement_that_does_not_hold_names_the_pages_against_it_the_worst_first() -> None:
    assert judged("share(pages, count() >= 2) >= 0.9") == (0.5, False, [2, 3])
    assert judged("share(pages, count() >= 2) <= 0.1") == (0.5, False, [0, 1])
    assert judged("mean(pages, mean(price)) <= 24") == (25.0, False, [0, 1])
    assert judged("mean(pages, mean(price)) >= 26") == (25.0, False, [1, 0])
    assert judged("26 <= mean(pages, mean(price))") == (25.0, False, [1, 0])
    assert judged("hit_rate >= 0.5") == (0.25, False, [])


def test_what_cannot_be_told_does_not_hold() -> None:
    assert not judged("diversity >= 0").holds
    assert not judged("diversity < 0 - 1").holds
    assert math.isnan(judged("mean(pages, mean(stock) + mean(price)) >= 0").value)
    assert not judged("mean(pages, mean(price)) >= 0", PAGES[2:]).holds


def test_all_of_a_share_is_exactly_one() -> None:
    pages = [RowsFrame([{"price": 1.0}], {})] * 7
    assert judged("share(pages, count() == 1) == 1", pages).holds
    assert judged("mean(pages, count() / 10) == 0.1", pages).holds
    assert not judged("share(pages, count() == 1) != 1", pages).holds


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("share(pages, distinct(brnd) >= 3) >= 1", 23, "no field is called brnd: did you mean brand?"),
        ("share(pages, price < 20) >= 1", 14, "price is of one item: expected it inside all, any, count"),
        ("share(pages, distinct(brand)) >= 1", 14, "expected a condition of a page"),
        ("share(pages, distinct(price < 2) > 1) >= 1", 23, "expected a field, such as brand"),
        ("share(pages, distinct(session.brands) > 1) >= 1", 23, "expected a field of items"),
        ("share(pages, count(price) > 1) >= 1", 20, "expected a list of texts, got a number"),
        ("share(pages, count(price + 1) > 1) >= 1", 20, "expected true or false, got a number"),
        ("share(pages, mean(brand) > 1) >= 1", 19, "expected a number, got text"),
        ("share(pages) >= 1", 1, "expected `pages` and what is counted of each"),
        ("mean(price) <= 60", 1, "expected a figure of all pages (max(pages, …), mean(pages, …)"),
        ("hitrate >= 0.2", 1, "no measure is called hitrate: did you mean hit_rate?"),
        ("hit_rate >= true", 13, "expected a number, got true or false"),
        ("hit_rate", 1, "expected a comparison, such as share(pages"),
        ("hit_rate >= 0.1 and mrr > 0", 1, "expected a comparison"),
        ("hit_rate >= ", 13, "expected"),
        ("  hit_rate >> 1", 13, "expected"),
    ],
)
def test_a_statement_that_is_wrong_is_told_by_the_line_of_the_file(text: str, column: int, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        read_statements(f"# of the shop\n\nhit_rate >= 0\n{text}\n", FIELDS, MEASURES)
    assert (caught.value.line, caught.value.column) == (4, column)
    assert caught.value.detail.startswith(said)


def test_a_file_without_statements_is_refused_and_so_are_too_many() -> None:
    with pytest.raises(ExpressionError, match="expected a statement"):
        read_statements("# nothing\n", FIELDS, MEASURES)
    with pytest.raises(ExpressionError, match="line 1001, column 1: expected at most 1000 statements"):
        read_statements("hit_rate >= 0\n" * 1001, FIELDS, MEASURES)


items = st.fixed_dictionaries(
    {},
    optional={
        "price": st.floats(0, 100).map(float),
        "brand": st.sampled_from(["Acme", "Peak", "Crown"]),
    },
)


@settings(max_examples=40)
@given(st.lists(st.lists(items, max_size=4), min_size=1, max_size=6), st.integers(0, 3), st.floats(0, 100))
def test_pages_are_counted_as_a_plain_reading_of_their_items_does(
    pages: list[list[dict[str, Any]]], least: int, price: float
) -> None:
    frames = [RowsFrame(page, {}) for page in pages]
    brands = [len({item["brand"] for item in page if "brand" in item}) for page in pages]
    cheap = [sum(item.get("price", math.inf) < price for item in page) for page in pages]
    all_cheap = [all(item.get("price", math.inf) < price for item in page) for page in pages]
    prices = [known for page in pages if (known := [item["price"] for item in page if "price" in item])]
    count = len(pages)

    def value(text: str) -> float:
        return judged(text, frames).value

    assert value(f"share(pages, distinct(brand) >= {least}) >= 0") == pytest.approx(
        sum(found >= least for found in brands) / count
    )
    assert value(f"mean(pages, count(price < {price!r})) >= 0") == pytest.approx(sum(cheap) / count)
    assert value(f"share(pages, all(price < {price!r})) >= 0") == pytest.approx(sum(all_cheap) / count)
    means = [sum(known) / len(known) for known in prices]
    expected = sum(means) / len(means) if means else math.nan
    assert value("mean(pages, mean(price)) >= 0") == pytest.approx(expected, nan_ok=True)
