"""Buyers of the synthetic shop: what one looks at in a list, clicks, takes and buys. Pure: the list and chance decide.

A buyer looks down a list and stops after each position with the same chance (the examination of rank-biased precision,
Moffat and Zobel, TOIS 2008). What is looked at is clicked by taste and price (a logit), whatever its position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from replay.synthetic.shop import BRANDS_A_LEAF, Shop
from replay.synthetic.words import BANDS, BRANDS, DEVICES, LEAVES, REGIONS, STYLES

USUAL_PRICES: Final = np.array([leaf.price for leaf in LEAVES])
LIKES: Final = {"category": 2.0, "brand": 1.0, "style": 1.2, "band": 0.8}
"""Log odds that an item gains for each that it has as the buyer likes it."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What all buyers have in common. Shares are from 0 to 1.

    `persistence`: share of those who looked at a position who look at the next. `eagerness`: log odds of a click on an
    item that is looked at, has nothing the buyer likes, and costs what is usual in its category. `fondness`: what
    `LIKES` are multiplied with. `price_weight`: log odds lost by each e-fold of the usual price. `carts`: share of
    clicks on a perfect match that end in the cart. `buys`: share of carts that are paid. `returns`: share of lines
    that a buyer who comes again sends back. `stays`: share of pages without a click that do not end the visit.
    `signed_in`: share of visits by members, who come `visits_each` times on average and keep their tastes.
    """

    persistence: float = 0.8
    eagerness: float = -3.5
    fondness: float = 1.0
    price_weight: float = 1.2
    carts: float = 0.5
    buys: float = 0.5
    returns: float = 0.08
    stays: float = 0.5
    most_pages: int = 8
    signed_in: float = 0.4
    visits_each: float = 4.0

    def __post_init__(self) -> None:
        shares = (self.persistence, self.carts, self.buys, self.returns, self.stays, self.signed_in)
        if not all(0.0 <= share <= 1.0 for share in shares) or self.most_pages < 1 or not self.visits_each >= 1:
            raise ValueError(f"expected shares from 0 to 1, and at least one page and one visit, got {self}")


@dataclass(frozen=True, slots=True)
class Taste:
    """What a buyer likes: codes of the shop's columns. `brand` is a place among a category's own brands."""

    leaves: tuple[int, ...]
    brand: int
    style: int
    band: int
    device: str
    region: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """One visit to come. `member` is who comes, None for a guest; a member's `taste` is that of all their visits."""

    number: int
    member: int | None
    taste: Taste


@dataclass(frozen=True, slots=True)
class Look:
    """What a buyer does with a list: looks at `depth` items from the first, clicks `clicked` (places from 0, rising),
    and puts `taken` of these in the cart.
    """

    depth: int
    clicked: tuple[int, ...]
    taken: tuple[int, ...]


def draw_taste(rng: np.random.Generator, categories: int = 3) -> Taste:
    """Draw a buyer."""
    return Taste(
        leaves=tuple(rng.choice(len(LEAVES), categories, replace=False).tolist()),
        brand=int(rng.integers(BRANDS_A_LEAF)),
        style=int(rng.integers(STYLES)),
        band=int(rng.integers(len(BANDS))),
        device=DEVICES[rng.choice(len(DEVICES), p=[0.6, 0.33, 0.07])],
        region=REGIONS[rng.integers(len(REGIONS))],
    )


def visitors(visits: int, habits: Habits, seed: int) -> Iterator[Visitor]:
    """Yield who comes, in order of arrival. The same seed gives the same visitors with the same tastes."""
    rng = np.random.default_rng([seed, 0])
    members = max(round(visits * habits.signed_in / habits.visits_each), 1)
    for number in range(visits):
        drawn, who = rng.random(), int(rng.integers(members))
        member = who if drawn < habits.signed_in else None
        own = [seed, 1, who] if member is not None else [seed, 2, number]
        yield Visitor(number, member, draw_taste(np.random.default_rng(own)))


def places(shop: Shop) -> dict[str, int]:
    """Return where each item id stands in the shop's columns."""
    return {item_id: at for at, (item_id, _) in enumerate(shop.items)}


def click_chances(
    shop: Shop, taste: Taste, at: NDArray[np.int64], prices: NDArray[np.float64], habits: Habits
) -> NDArray[np.float64]:
    """Return the chance (n,) that each item is clicked once it is looked at.

    at (n,): places in the shop, -1 for an item that is not of it: nothing about it is liked. prices (n,): what the
    list says; NaN or not above 0 counts as the usual price.
    """
    leaf, known = shop.leaf[at], at >= 0
    usual = USUAL_PRICES[leaf]
    right = known & (prices > 0) & np.isfinite(prices)
    dear = np.log(np.where(right, prices, usual) / usual)
    own_brand = (leaf * 7 + taste.brand) % len(BRANDS)
    liked = LIKES["category"] * (known & np.isin(leaf, taste.leaves))
    liked = liked + LIKES["brand"] * (known & (shop.brand[at] == own_brand))
    liked = liked + LIKES["style"] * (known & (shop.style[at] == taste.style))
    liked = liked + LIKES["band"] * (known & (shop.band[at] == taste.band))
    odds = habits.eagerness - habits.price_weight * dear + habits.fondness * liked
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))


def depth_looked(items: int, habits: Habits, rng: np.random.Generator) -> int:
    """Draw how many of a list's items are looked at: the first always is; position k is by persistence^(k-1)."""
    if habits.persistence >= 1.0:
        return items
    return min(int(rng.geometric(1.0 - habits.persistence)), items)


def look(chances: NDArray[np.float64], habits: Habits, rng: np.random.Generator) -> Look:
    """Draw what a buyer does with a list whose items have these chances (n,) of a click when they are looked at."""
    depth = depth_looked(len(chances), habits, rng)
    clicks, takes = rng.random((2, len(chances)))
    clicked = np.flatnonzero(clicks[:depth] < chances[:depth])
    taken = clicked[takes[clicked] < habits.carts * chances[clicked]]
    return Look(depth, tuple(clicked.tolist()), tuple(taken.tolist()))


def seen_as(
    where: Mapping[str, int], items: Sequence[str], prices: Sequence[float | None]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return places (n,) and prices (n,) of a list as `click_chances` wants them."""
    at = np.array([where.get(item_id, -1) for item_id in items], np.int64)
    return at, np.array([np.nan if price is None else price for price in prices], np.float64)
