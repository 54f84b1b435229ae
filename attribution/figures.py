"""Figures from cells: counts, rates and money, by the dimensions asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

from attribution.cells import HOUR_MS, Cell
from attribution.facts import SCALE, Dims
from attribution.lives import median_s
from contracts.errors import SettingsError

Counts = Mapping[str, int]
Figures = dict[str, float | None]

COUNTS: Final = (
    "pages",
    "shown",
    "viewed",
    "sessions",
    "visitors",
    "users",
    "buyers",
    "clicks",
    "carts",
    "purchases",
    "orders",
    "pieces",
    "returns",
    "first_purchases",
)
RATES: Final[Mapping[str, Callable[[Counts], float | None]]] = {
    "ctr": lambda counts: _ratio(counts, "clicks", "shown"),
    "viewed_ctr": lambda counts: _ratio(counts, "clicks", "viewed"),
    "conversion": lambda counts: _ratio(counts, "orders", "sessions"),
    "cart_abandonment": lambda counts: _less_than_one(_ratio(counts, "carts_bought", "carts")),
    "first_purchase_hours": lambda counts: _hours(_ratio(counts, "first_purchase_seconds", "first_purchases")),
    "first_purchase_hours_median": lambda counts: _hours(median_s(_waited(counts))),
}
MONEY: Final[Mapping[str, Callable[[Counts, str], float | None]]] = {
    "revenue": lambda counts, currency: _net(counts, currency) / SCALE,
    "returned": lambda counts, currency: counts.get(f"returned:{currency}", 0) / SCALE,
    "margin": lambda counts, currency: counts.get(f"margin:{currency}", 0) / SCALE,
    "revenue_per_thousand": lambda counts, currency: _per(_net(counts, currency), counts, "shown", 1000),
    "margin_per_thousand": lambda counts, currency: _per(counts.get(f"margin:{currency}", 0), counts, "shown", 1000),
    "average_order": lambda counts, currency: _per(counts.get(f"revenue:{currency}", 0), counts, "orders"),
    "revenue_per_visit": lambda counts, currency: _per(_net(counts, currency), counts, "sessions"),
    "revenue_per_visitor": lambda counts, currency: _per(_net(counts, currency), counts, "visitors"),
    "lifetime_value": lambda counts, currency: _per(counts.get(f"lifetime:{currency}", 0), counts, "users"),
    "lifetime_value_of_buyers": lambda counts, currency: _per(counts.get(f"lifetime:{currency}", 0), counts, "buyers"),
}
_LONGEST_BUCKET: Final = 3
METRICS: Final = (*COUNTS, *RATES, *MONEY)
BY: Final = (*Dims._fields, "hour", "day", "position")
BY_POSITION: Final = ("shown", "clicks", "ctr")
DEFAULT_BY: Final = ("recommended", "scenario")


def expect_asked(by: Sequence[str], metrics: Sequence[str]) -> None:
    """Raise SettingsError for a dimension or metric that there is not, and for metrics none of which has positions."""
    for what, asked, known in (("dimension", by, BY), ("metric", metrics, METRICS)):
        for name in asked:
            if name not in known:
                near = get_close_matches(name, known, 1, 0.6)
                meant = f": did you mean {near[0]}?" if near else ""
                raise SettingsError(f"expected a {what} of {', '.join(known)}, got {name!r:.60}{meant}")
    if "position" in by and metrics and not set(metrics) & set(BY_POSITION):
        raise SettingsError(f"expected {', '.join(BY_POSITION)} by position, got {', '.join(metrics)}")


def table(cells: Iterable[tuple[Cell, int]], by: Sequence[str]) -> dict[tuple[str, ...], Counter[str]]:
    """Sum cells by dimensions. By position only pages and clicks are counted."""
    rows: dict[tuple[str, ...], Counter[str]] = {}
    for cell, count in cells:
        name, _, position = cell.counter.partition("@")
        if bool(position) != ("position" in by):
            continue
        row = tuple(_value(cell, position, one) for one in by)
        rows.setdefault(row, Counter())[name] += count
    return dict(sorted(rows.items(), key=lambda one: [_rank(word) for word in one[0]]))


def figures(counts: Counts, metrics: Sequence[str] = ()) -> Figures:
    """Return the figures of one row, all of them unless some are named; None where nothing was shown to divide by."""
    wanted = metrics or METRICS
    currencies = sorted({name.partition(":")[2] for name in counts if ":" in name})
    found: Figures = {}
    for name in wanted:
        if name in MONEY:
            found |= {f"{name}:{currency}": MONEY[name](counts, currency) for currency in currencies}
        else:
            found[name] = RATES[name](counts) if name in RATES else counts.get(name, 0) / SCALE
    return found


def _rank(word: str) -> tuple[bool, int, str]:
    """Whole numbers come after words, by their value."""
    return (True, int(word), "") if word.isdecimal() else (False, 0, word)


def _value(cell: Cell, position: str, by: str) -> str:
    if by == "position":
        return position
    if by in ("hour", "day"):
        moment = datetime.fromtimestamp(cell.hour * HOUR_MS / 1000, UTC)
        return moment.strftime("%Y-%m-%dT%H:00Z" if by == "hour" else "%Y-%m-%d")
    return str(getattr(cell.dims, by))


def _net(counts: Counts, currency: str) -> int:
    return counts.get(f"revenue:{currency}", 0) - counts.get(f"returned:{currency}", 0)


def _ratio(counts: Counts, part: str, whole: str) -> float | None:
    return counts.get(part, 0) / counts[whole] if counts.get(whole) else None


def _per(money: int, counts: Counts, whole: str, times: int = 1) -> float | None:
    """Return money, in units of its currency, for each (or each thousand) of what is counted."""
    return times * money / counts[whole] if counts.get(whole) else None


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 3600


def _waited(counts: Counts) -> dict[int, int]:
    """Return first purchases by the bucket of the time until them."""
    found = {}
    for name, count in counts.items():
        bucket = name.removeprefix("first_purchase_in_")
        if bucket != name and bucket.isdecimal() and len(bucket) <= _LONGEST_BUCKET:
            found[int(bucket)] = count
    return found


def _less_than_one(share: float | None) -> float | None:
    return None if share is None else 1 - share


def hour_of(text: str) -> int:
    """Return the hour (whole hours since 1970) that a time falls into: `2026-11-29`, `2026-11-29T13:00Z`, or epoch
    milliseconds. A time without a zone is UTC. Raises SettingsError.
    """
    if text.isdecimal() and len(text) <= 15:
        return int(text) // HOUR_MS
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"expected a time as 2026-11-29, 2026-11-29T13:00Z or epoch milliseconds, got {text!r:.60}"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000) // HOUR_MS


def words_of(text: str) -> list[str]:
    """Return the words of a list with commas."""
    return [word for one in text.split(",") if (word := one.strip())]
