"""Prices as others write them, read as a number and a currency, with the reading that was chosen.

The rules, in this order:

- A number is taken as it is. It is in whole units (euros, not cents): what is in minor units cannot be told by looking.
- Spaces and apostrophes only group digits by three. A point or comma that comes more than once does too.
- Of a point and a comma, the last one stands before the decimals.
- One point or comma stands before decimals, unless exactly three digits follow and one to three, not beginning with 0,
  come before it: "1.299" and "1,299" can be read both ways. They are read as thousands, or as decimals where the caller
  says which mark its decimals have (`decimal`) or the currency has three of them (KWD). `ambiguous` says so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from contracts.events import CURRENCY, Rejection, shown
from contracts.items import MOST_PRICE

LONGEST: Final = 64
"""Characters of a price."""

Mark = Literal[".", ","]


class Reading(StrEnum):
    """How a price was read."""

    NUMBER = "number"
    """It came as a number."""
    WHOLE = "whole"
    """Digits alone."""
    DECIMAL_POINT = "decimal_point"
    DECIMAL_COMMA = "decimal_comma"
    THOUSANDS = "thousands"
    """Groups of digits, no decimals."""
    THOUSANDS_DECIMAL_POINT = "thousands_decimal_point"
    THOUSANDS_DECIMAL_COMMA = "thousands_decimal_comma"


@dataclass(frozen=True, slots=True)
class Price:
    """`currency` is three letters, None where nothing says which. `ambiguous`: another reading was possible."""

    amount: float
    currency: str | None
    reading: Reading
    ambiguous: bool = False

    def __str__(self) -> str:
        """Say what was understood, for a report: `1299.00 EUR (thousands; could be read otherwise)`."""
        unit = f" {self.currency}" if self.currency else ""
        return f"{self.amount:.2f}{unit} ({self.reading}{'; could be read otherwise' if self.ambiguous else ''})"


THREE_DECIMALS: Final = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))
"""Currencies with a thousand minor units (ISO 4217)."""

SYMBOLS: Final[Mapping[str, str]] = {
    "€": "EUR",
    "£": "GBP",
    "₹": "INR",
    "₽": "RUB",
    "₺": "TRY",
    "₩": "KRW",
    "₪": "ILS",
    "₫": "VND",
    "₴": "UAH",
    "zł": "PLN",
    "kč": "CZK",
    "ft": "HUF",
    "fr.": "CHF",
    "sfr.": "CHF",
    "us$": "USD",
    "a$": "AUD",
    "c$": "CAD",
    "ca$": "CAD",
    "hk$": "HKD",
    "nz$": "NZD",
    "r$": "BRL",
    "s$": "SGD",
}
_KRONA: Final = frozenset(("DKK", "ISK", "NOK", "SEK"))
SHARED: Final[Mapping[str, frozenset[str]]] = {
    "$": frozenset(("ARS", "AUD", "CAD", "CLP", "COP", "HKD", "MXN", "NZD", "SGD", "TWD", "USD")),
    "¥": frozenset(("CNY", "JPY")),
    "kr": _KRONA,
    "kr.": _KRONA,
}
"""Signs of several currencies. Alone, such a sign says no currency, but "$" says USD."""

_ISO: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL "
    "HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD "
    "MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG "
    "QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD "
    "TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG"
)
CODES: Final = frozenset(_ISO.split())
"""Codes that are read as a currency beside an amount (ISO 4217)."""

_MINOR: Final = frozenset(("¢", "c", "ct", "cts", "cent", "cents", "p", "pence", "penny", "gr", "øre", "öre", "kop"))
_SPACES: Final = re.compile(r"[\s\u00a0\u2007\u2009\u202f]+")
_PLAIN: Final = re.compile(r"\d{1,15}(?:\.\d{1,2})?", re.ASCII)
_PARTS: Final = re.compile(
    r"(?P<before>[^\d.,'+-]*[^\W\d_]\.|[^\d.,'+-]*)\s*(?P<sign>[+-]?)\s*"
    r"(?P<digits>[.,]?\d(?:[\d.,' ]*\d)?)(?:[.,]\s?-{1,2})?\s*(?P<after>[^\d]*)"
)
_IS_CURRENCY: Final = re.compile(CURRENCY)


def read_price(value: object, *, currency: str | None = None, decimal: Mark | None = None) -> Price | Rejection:
    """Read a price. `currency` is what stands beside it, in a field of its own; `decimal` the mark that the decimals
    of the whole source have (see `decimal_mark`): only a price that can be read both ways asks for it.

    Reasons: `not_a_price`, `negative_price`, `minor_units` (cents are not taken for euros), `two_currencies`,
    `unknown_currency`.
    """
    beside = _currency_beside(currency) if currency else None
    if isinstance(beside, Rejection):
        return beside
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value, beside)
    if not isinstance(value, str):
        return _no_price(value, "a number, or a text such as '1,299.00 EUR'")
    if _PLAIN.fullmatch(value):
        return Price(float(value), beside, Reading.DECIMAL_POINT if "." in value else Reading.WHOLE)
    if len(value) > LONGEST:
        return _no_price(value, f"at most {LONGEST} characters")
    parts = _PARTS.fullmatch(_normal(value))
    if parts is None:
        return _no_price(value, "one amount, with or without a currency")
    said = _currency_of(parts["before"], parts["after"], beside)
    if isinstance(said, Rejection):
        return said
    if parts["sign"] == "-":
        return Rejection("negative_price", f"expected a price of 0 or more, got {shown(value, LONGEST)}")
    return _amount(value, parts["digits"], said or None, decimal)


def decimal_mark(prices: Iterable[object]) -> Mark | None:
    """Return the mark that decimals have in prices of one source, by those that can be read in one way only.

    None where there is no such price, or where they do not agree.
    """
    marks: set[Mark] = set()
    for value in prices:
        price = read_price(value) if isinstance(value, str) else None
        if isinstance(price, Price) and not price.ambiguous:
            if price.reading in (Reading.DECIMAL_POINT, Reading.THOUSANDS_DECIMAL_POINT):
                marks.add(".")
            elif price.reading in (Reading.DECIMAL_COMMA, Reading.THOUSANDS_DECIMAL_COMMA):
                marks.add(",")
    return marks.pop() if len(marks) == 1 else None


def _number(value: int | float, currency: str | None) -> Price | Rejection:
    if not value <= MOST_PRICE:  # NaN as well
        return _no_price(value, f"a number up to {MOST_PRICE:g}")
    if value < 0:
        return Rejection("negative_price", f"expected a price of 0 or more, got {value}")
    return Price(float(value), currency, Reading.NUMBER)


def _normal(text: str) -> str:
    """Return a text with one kind of space, apostrophe, dash and mark, and the digits of all scripts as 0 to 9.

    Superscripts stay what they are: as digits they would make 1299 of a price shown as 12 with a raised 99.
    """
    text = unicodedata.normalize("NFC", text).translate(_ALIKE)
    digits = (str(unicodedata.decimal(one)) if not one.isascii() and one.isdecimal() else one for one in text)
    return _SPACES.sub(" ", "".join(digits)).strip()


_ALIKE: Final = str.maketrans(
    {
        **dict.fromkeys("\u2019\u2018`\u00b4\u066c", "'"),
        **dict.fromkeys("\u2212\u2013\u2014", "-"),
        **{"\u066b": ",", "\uff0c": ",", "\uff0e": ".", "\uff04": "$", "\uffe5": "\u00a5", "\uffe1": "\u00a3"},
    }
)


def _currency_beside(text: str) -> str | Rejection:
    said = text.strip().upper()
    if not _IS_CURRENCY.fullmatch(said):
        return Rejection("unknown_currency", f"expected three letters such as EUR, got {shown(text, 40)}")
    return said


def _currency_of(before: str, after: str, beside: str | None) -> str | Rejection:
    """Return the currency that the words around an amount say, '' for none."""
    possible = frozenset((beside,)) if beside else None
    dollars = False
    for word in (*before.split(), *after.split()):
        names = _names_of(word)
        if isinstance(names, Rejection):
            return names
        left = names if possible is None else possible & names
        if not left:
            said = " or ".join(sorted(possible or ()))
            return Rejection("two_currencies", f"expected one currency, got {said:.40} and {shown(word, 20)}")
        possible, dollars = left, dollars or word == "$"
    if possible is None or len(possible) > 1:
        return "USD" if dollars else ""
    return next(iter(possible))


def _names_of(word: str) -> frozenset[str] | Rejection:
    """Return the currencies that a word beside an amount may stand for."""
    lower = word.lower()
    if lower in SYMBOLS:
        return frozenset((SYMBOLS[lower],))
    if lower in SHARED:
        return SHARED[lower]
    if lower.rstrip(".") in _MINOR:
        return Rejection("minor_units", f"expected whole units (12.99 EUR, not 1299 cents), got {shown(word, 20)}")
    if word.upper() in CODES:
        return frozenset((word.upper(),))
    return Rejection("not_a_price", f"expected a currency beside the amount, got {shown(word, 20)}")


def _amount(value: str, digits: str, currency: str | None, decimal: Mark | None) -> Price | Rejection:
    if decimal is None and currency in THREE_DECIMALS:
        decimal = "." if "." in digits else ","
    found = _read_digits(digits, decimal)
    if found is None:
        return _no_price(value, "digits in groups of three, and at most one mark before the decimals")
    plain, reading, ambiguous = found
    if float(plain) > MOST_PRICE:
        return _no_price(value, f"a number up to {MOST_PRICE:g}")
    return Price(float(plain), currency, reading, ambiguous)


def _read_digits(text: str, decimal: Mark | None) -> tuple[str, Reading, bool] | None:
    """Return digits as Python reads them, how they were read, and whether they could be read otherwise."""
    marks = [one for one in text if not one.isdigit()]
    if not marks:
        return text, Reading.WHOLE, False
    last = marks[-1]
    whole, _, rest = text.rpartition(last)
    if last in " '" or marks.count(last) > 1:
        plain = _ungrouped(text, last) if len(set(marks)) == 1 else None
        return None if plain is None else (plain, Reading.THOUSANDS, False)
    if len(marks) == 1:
        both_ways = len(rest) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0")
        if both_ways and decimal != last:
            return whole + rest, Reading.THOUSANDS, True
        reading = Reading.DECIMAL_POINT if last == "." else Reading.DECIMAL_COMMA
        return f"{whole or 0}.{rest}", reading, both_ways
    group = marks[0]
    plain = _ungrouped(whole, group) if set(marks[:-1]) == {group} else None
    reading = Reading.THOUSANDS_DECIMAL_POINT if last == "." else Reading.THOUSANDS_DECIMAL_COMMA
    return None if plain is None else (f"{plain}.{rest}", reading, False)


def _ungrouped(text: str, mark: str) -> str | None:
    """Return grouped digits without their marks: threes, or as in India twos before the last three; None for others."""
    first, *groups = text.split(mark)
    if not 1 <= len(first) <= 3 or not groups or len(groups[-1]) != 3:
        return None
    inner = {len(group) for group in groups[:-1]}
    return first + "".join(groups) if inner <= {3} or (inner == {2} and len(first) <= 2) else None


def _no_price(value: object, expected: str) -> Rejection:
    return Rejection("not_a_price", f"expected {expected}, got {shown(value, LONGEST)}")
