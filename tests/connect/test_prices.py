"""Prices as others write them: which amount, which currency, which reading."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.prices import Price, Reading, decimal_mark, read_price
from contracts.events import Rejection


@pytest.mark.parametrize(
    ("written", "amount", "currency", "reading"),
    [
        (1299, 1299.0, None, "number"),
        (12.5, 12.5, None, "number"),
        ("1299", 1299.0, None, "whole"),
        ("1299.5", 1299.5, None, "decimal_point"),
        ("12,50", 12.5, None, "decimal_comma"),
        (".99", 0.99, None, "decimal_point"),
        ("1,299.00", 1299.0, None, "thousands_decimal_point"),
        ("1.299,00 €", 1299.0, "EUR", "thousands_decimal_comma"),
        ("1 299,00", 1299.0, None, "thousands_decimal_comma"),
        ("1\u202f299,00\u00a0€", 1299.0, "EUR", "thousands_decimal_comma"),
        ("$12", 12.0, "USD", "whole"),
        ("$12.00 CAD", 12.0, "CAD", "decimal_point"),
        ("CHF 1'299.50", 1299.5, "CHF", "thousands_decimal_point"),
        ("Fr. 1’299.50", 1299.5, "CHF", "thousands_decimal_point"),
        ("Fr.12.50", 12.5, "CHF", "decimal_point"),
        ("12,– €", 12.0, "EUR", "whole"),
        ("12.-", 12.0, None, "whole"),
        ("1.299.000", 1299000.0, None, "thousands"),
        ("1,29,900.00 INR", 129900.0, "INR", "thousands_decimal_point"),
        ("0.299", 0.299, None, "decimal_point"),
        ("1234.567", 1234.567, None, "decimal_point"),
        ("12.99 eur", 12.99, "EUR", "decimal_point"),
        ("100 kr", 100.0, None, "whole"),
        ("¥ 1,200,000", 1200000.0, None, "thousands"),
        ("١٢٫٥", 12.5, None, "decimal_comma"),
        ("+5.00", 5.0, None, "decimal_point"),
    ],
)
def test_a_price_is_read_with_its_currency_and_the_reading_is_said(
    written: Any, amount: float, currency: str | None, reading: str
) -> None:
    assert read_price(written) == Price(amount, currency, Reading(reading))


@pytest.mark.parametrize("written", ["1.299", "1,299", "12.000 EUR", "999,999"])
def test_three_digits_behind_one_mark_are_thousands_and_said_to_be_ambiguous(written: str) -> None:
    price = read_price(written)
    assert isinstance(price, Price)
    assert (price.reading, price.ambiguous) == (Reading.THOUSANDS, True)
    assert "could be read otherwise" in str(price)


def test_a_sources_own_mark_decides_what_can_be_read_both_ways_and_nothing_else() -> None:
    assert decimal_mark(["1.299", "12,50 €", "3.000,00", 5, None]) == ","
    assert decimal_mark(["12,50", "12.50"]) is None
    assert read_price("1,299", decimal=",") == Price(1.299, None, Reading.DECIMAL_COMMA, ambiguous=True)
    assert read_price("1.299", decimal=",") == Price(1299.0, None, Reading.THOUSANDS, ambiguous=True)
    assert read_price("12.50", decimal=",") == Price(12.5, None, Reading.DECIMAL_POINT)


def test_a_currency_of_three_decimals_has_them() -> None:
    assert read_price("1.299 KWD") == Price(1.299, "KWD", Reading.DECIMAL_POINT, ambiguous=True)
    assert read_price("1.299", currency="kwd") == Price(1.299, "KWD", Reading.DECIMAL_POINT, ambiguous=True)


def test_a_currency_beside_the_price_says_which_of_a_shared_sign_is_meant() -> None:
    assert read_price("$12.00", currency="AUD") == Price(12.0, "AUD", Reading.DECIMAL_POINT)
    assert read_price(12, currency="EUR") == Price(12.0, "EUR", Reading.NUMBER)


@pytest.mark.parametrize(
    ("written", "currency", "reason"),
    [
        ("1299 cents", None, "minor_units"),
        ("99¢", None, "minor_units"),
        ("99p", None, "minor_units"),
        ("-5.00", None, "negative_price"),
        (-5, None, "negative_price"),
        ("€12 USD", None, "two_currencies"),
        ("12 €", "USD", "two_currencies"),
        ("12", "euro", "unknown_currency"),
        ("12 pcs", None, "not_a_price"),
        ("12 - 15", None, "not_a_price"),
        ("12.00 EUR 15.00 EUR", None, "not_a_price"),
        ("1.299.00", None, "not_a_price"),
        ("1,299 00", None, "not_a_price"),
        ("12 50", None, "not_a_price"),
        ("12⁹⁹ €", None, "not_a_price"),
        ("1e3", None, "not_a_price"),
        ("free", None, "not_a_price"),
        ("", None, "not_a_price"),
        ("9" * 40, None, "not_a_price"),
        ("9" * 400, None, "not_a_price"),
        (float("nan"), None, "not_a_price"),
        (float("inf"), None, "not_a_price"),
        (10**400, None, "not_a_price"),
        (True, None, "not_a_price"),
        (None, None, "not_a_price"),
        ([12], None, "not_a_price"),
    ],
)
def test_what_is_no_price_is_refused_with_a_reason(written: Any, currency: str | None, reason: str) -> None:
    refused = read_price(written, currency=currency)
    assert isinstance(refused, Rejection)
    assert refused.reason == reason


@given(
    st.integers(0, 10**9).map(lambda cents: cents / 100),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", ".")]),
)
def test_two_decimals_are_read_back_whatever_groups_the_thousands(amount: float, marks: tuple[str, str]) -> None:
    group, decimal = marks
    written = f"{amount:,.2f}".translate(str.maketrans({",": group, ".": decimal}))
    price = read_price(f"{written} EUR")
    assert isinstance(price, Price)
    assert (price.amount, price.currency, price.ambiguous) == (amount, "EUR", False)


@given(st.text(alphabet="0123456789.,' -+$€cEURxk\u00a0⁹", max_size=70) | st.text(max_size=70))
def test_any_text_is_a_price_of_zero_or_more_or_refused(written: str) -> None:
    price = read_price(written)
    assert isinstance(price, Rejection) or 0 <= price.amount <= 1e30
