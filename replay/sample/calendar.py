"""What happens in the sample's year: how many come each day, and what is wanted more or less, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np

from replay.sample.chunk import Float64s, Mask
from replay.sample.stock import Stocked
from replay.synthetic.words import BRANDS, LEAVES, STYLES

_WEEK: Final = np.array([1.0, 0.97, 0.96, 0.98, 1.0, 1.08, 1.14])
_SEASONS: Final = {
    "outdoor/camping": (190, 0.9), "outdoor/hiking": (240, 0.5), "outdoor/climbing": (170, 0.5),
    "sport/cycling": (150, 0.7), "sport/fitness": (10, 0.7), "home/garden": (135, 1.1), "home/bedroom": (330, 0.4),
    "home/living": (340, 0.4), "toys/games": (345, 1.0), "toys/building": (345, 1.0), "electronics/audio": (340, 0.5),
    "food/cellar": (350, 0.6), "beauty/care": (345, 0.3),
}  # fmt: skip
"""By group of categories: the day of the year when it is wanted most, and how much (log)."""
_OWN_SEASONS: Final = {
    "coats": (350, 1.3), "scarves": (350, 1.2), "knitwear": (340, 0.9), "kids-jackets": (335, 1.0),
    "sun-creams": (195, 1.5), "school-bags": (235, 1.5), "pencil-cases": (235, 1.3), "dresses": (165, 0.7),
    "headlamps": (345, 0.7), "candles": (345, 1.0), "blankets": (345, 1.0),
}  # fmt: skip
"""By category, where it is not its group's."""
_FRESH: Final = (1.4, 10.0)
"""How much more a new item is wanted (log), and the days in which that falls to a third."""


@dataclass(frozen=True, slots=True)
class Spell:
    """Something that holds for some items from day `first` up to, not with, day `end`. `pull` is what it adds to the
    log of how much they are wanted, at its height; `discount` the share of the price; `sold` whether they can be had.
    """

    kind: str
    about: str
    items: Mask
    first: int
    end: int
    pull: float
    discount: float = 0.0
    sold: bool = True

    def height(self, day: int) -> float:
        """Return how strong it is on a day, 0 to 1: a trend rises and falls, everything else is or is not."""
        if not self.first <= day < self.end:
            return 0.0
        if self.kind != "trend":
            return 1.0
        return 1.0 - abs(2.0 * (day + 0.5 - self.first) / (self.end - self.first) - 1.0)


@dataclass(frozen=True, slots=True)
class Today:
    """A day of the shop: `wish` (n,) how much items are wanted, 0 for none that is there; `sold` (n,); `discount`
    (n,); `season` (leaves,) the log of how much the time of the year adds.
    """

    wish: Float64s
    sold: Mask
    discount: Float64s
    season: Float64s


def spells(stock: Stocked, days: int, rng: np.random.Generator) -> tuple[Spell, ...]:
    """Plan trends, promotions and times in which a supplier does not deliver."""
    found = []
    for _ in range(max(days // 6, 1)):
        leaf, style = int(rng.integers(len(LEAVES))), int(rng.integers(STYLES))
        items = (stock.shop.leaf == leaf) & (stock.shop.style == style)
        first, end = _when(days, (7, 28), rng)
        about = f"{LEAVES[leaf].path}, style {style}"
        found.append(Spell("trend", about, items, first, end, float(rng.uniform(1.2, 2.2))))
    for _ in range(max(days // 9, 1)):
        about, items = _promoted(stock, rng)
        first, end = _when(days, (3, 10), rng)
        discount = round(float(rng.uniform(0.1, 0.4)), 2)
        found.append(Spell("promotion", about, items, first, end, float(np.log1p(4 * discount)), discount))
    for _ in range(max(days // 60, 1)):
        supplier = int(rng.integers(len(stock.suppliers)))
        first, end = _when(days, (3, 9), rng)
        items = stock.supplier == supplier
        found.append(Spell("supplier out", stock.suppliers[supplier], items, first, end, -1.0, sold=False))
    return tuple(found)


def _when(days: int, lengths: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    first = int(rng.integers(days))
    return first, min(first + int(rng.integers(*lengths, endpoint=True)), days)


def _promoted(stock: Stocked, rng: np.random.Generator) -> tuple[str, Mask]:
    what = int(rng.integers(3))
    if what == 0:
        group = LEAVES[int(rng.integers(len(LEAVES)))].path.rpartition("/")[0]
        return group, np.array([leaf.path.startswith(f"{group}/") for leaf in LEAVES])[stock.shop.leaf]
    if what == 1:
        brand = int(rng.integers(len(BRANDS)))
        return BRANDS[brand], stock.shop.brand == brand
    supplier = int(rng.integers(len(stock.suppliers)))
    return stock.suppliers[supplier], stock.supplier == supplier


def today(stock: Stocked, planned: tuple[Spell, ...], start_ms: int, day: int) -> Today:
    """Return what day `day`, counted from 0, is like."""
    shop = stock.shop
    season = season_of(date_of(start_ms, day))
    wave = np.sin(2 * np.pi * day / shop.wave[:, 0] + shop.wave[:, 1])
    pull = shop.appeal + shop.leaf_appeal[shop.leaf] + season[shop.leaf] + 0.5 * wave
    age = day - stock.came
    pull += np.where(stock.came >= 0, _FRESH[0] * np.exp(-np.maximum(age, 0) / _FRESH[1]), 0.0)
    sold, discount = np.ones(len(stock), bool), np.zeros(len(stock))
    for spell in planned:
        height = spell.height(day)
        if height:
            pull += spell.pull * height * spell.items
            discount = np.where(spell.items, np.maximum(discount, spell.discount), discount)
            sold &= spell.sold | ~spell.items
    return Today(np.where(age >= 0, np.exp(pull), 0.0), sold, discount, season)


def season_of(day: date) -> Float64s:
    """Return how much more each category (leaves,) is wanted on a day of the year: a log, 0 over the year."""
    at = day.timetuple().tm_yday
    asked = (_OWN_SEASONS.get(one.slug) or _SEASONS.get(one.path.rpartition("/")[0], (0, 0.0)) for one in LEAVES)
    return np.array([strength * np.cos(2 * np.pi * (at - peak) / 365) for peak, strength in asked])


def date_of(start_ms: int, day: int) -> date:
    return datetime.fromtimestamp(start_ms / 1000, UTC).date() + timedelta(days=day)


def share_of_days(start_ms: int, days: int) -> Float64s:
    """Return the share of all visits that fall on each day (days,): growth, weekdays, the weeks before Christmas."""
    found = np.empty(days)
    for day in range(days):
        when = date_of(start_ms, day)
        found[day] = (1 + 0.3 * day / 365) * _WEEK[when.weekday()] * _in_the_year(when)
    return np.asarray(found / found.sum())


def _in_the_year(when: date) -> float:
    friday = _black_friday(when.year)
    if when in (friday, friday + timedelta(days=3)):
        return 2.4 if when == friday else 1.9
    if (when.month, when.day) in ((12, 24), (12, 25), (12, 26), (1, 1)):
        return 0.6
    late = (when - date(when.year, 12, 12)).days
    return 1.0 + 0.6 * float(np.exp(-((late / 18) ** 2))) - 0.1 * (when.month in (7, 8))


def _black_friday(year: int) -> date:
    last = date(year, 11, 30)
    thursday = last - timedelta(days=(last.weekday() - 3) % 7)
    if thursday.day > 28:  # the fourth Thursday, not the fifth
        thursday -= timedelta(days=7)
    return thursday + timedelta(days=1)
