"""A day's visits by humans, all at once: what they look at, put into the cart, buy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from replay.sample.calendar import Today
from replay.sample.chunk import (
    CART,
    LIKE,
    NONE,
    PURCHASE,
    VIEW,
    Chunk,
    Float64s,
    Longs,
    Mask,
    joined,
    visits_of,
)
from replay.sample.crowd import FAVOURITES, Crowd
from replay.sample.stock import SIZES, Stocked

LONGEST: Final = 200
"""Views of a visit, at most."""
_ON: Final = (6.6, 3.0)
"""Parameters of the beta distribution from which each visit draws its chance of another view."""
AGAIN, ALIKE, DRIFT, COMPANION = 0.17, 0.30, 0.07, 0.06
"""Chances that the next view is of an item seen before in the visit, of one like the last, in another category, of
one that goes with the last. Otherwise it is of the same category, by taste."""
FROM_LAST: Final = 0.18
"""Chance that a visit begins with the last item of the visit before."""
_LOOKS: Final = 3
"""Items of a category that a visitor compares before one is opened."""
_HOURS: Final = np.array(
    [9, 5, 3, 2, 2, 4, 10, 20, 30, 38, 42, 44, 46, 44, 43, 43, 45, 50, 58, 68, 74, 68, 46, 22], float
)
_CART, _BUY, _LINE, _LIKE = 0.045, 0.5, 0.85, 0.008
_SIZE_SLOTS: Final = np.array([len(sizes) for sizes in SIZES])


@dataclass(frozen=True, slots=True)
class Paths:
    """Views of a day's visits (s, longest): `item`, -1 behind the end; `ts_ms` when it was opened."""

    item: Longs
    ts_ms: Longs

    @property
    def seen(self) -> Mask:
        return self.item >= 0


def lengths(count: int, rng: np.random.Generator) -> Longs:
    """Return how many views (count,) visits have: 1 and more, with a long tail, LONGEST at most."""
    going_on = rng.beta(*_ON, count)
    return np.minimum(rng.geometric(1 - going_on), LONGEST)


def begins(count: int, rng: np.random.Generator) -> Longs:
    """Return when in the day (count,), in milliseconds, visits begin, in order: most in the evening."""
    hour = rng.choice(24, count, p=_HOURS / _HOURS.sum())
    return np.sort(((hour + rng.random(count)) * 3_600_000).astype(np.int64))


class Wishes:
    """Draws items of one day by how much they are wanted: one search in the running sum of all wishes."""

    def __init__(self, stock: Stocked, day: Today) -> None:
        self._until = np.concatenate([[0.0], np.cumsum(day.wish)])
        self._firsts = stock.firsts
        self._wish = day.wish
        self._of_leaf = self._until[stock.firsts[1:]] - self._until[stock.firsts[:-1]]
        self._leaves = np.cumsum(self._of_leaf)

    def leaf(self, count: int, rng: np.random.Generator) -> Longs:
        """Draw categories (count,) by what all their items are wanted."""
        return np.asarray(np.searchsorted(self._leaves, rng.random(count) * self._leaves[-1], side="right"))

    def item(self, leaf: Longs, rng: np.random.Generator) -> Longs:
        """Draw an item of each category, of another one where it has none yet; the shape is that of `leaf`."""
        leaf = np.where(self._of_leaf[leaf] > 0, leaf, self.leaf(leaf.size, rng).reshape(leaf.shape))
        low, high = self._until[self._firsts[leaf]], self._until[self._firsts[leaf + 1]]
        found = np.searchsorted(self._until, low + rng.random(leaf.shape) * (high - low), side="right") - 1
        return np.asarray(np.clip(found, self._firsts[leaf], self._firsts[leaf + 1] - 1))

    def has(self, item: Longs) -> Mask:
        return np.asarray(self._wish[item] > 0)


def walk(
    stock: Stocked, people: Crowd, day: Today, user: Longs, views: Longs, last: Longs, rng: np.random.Generator
) -> Longs:
    """Return the items (s, longest) that visits of users (s,) look at, `views` (s,) of each; -1 behind the end.

    `last` (s,) is the item at which the user's visit before ended, -1 for none.
    """
    wishes = Wishes(stock, day)
    path = np.full((len(user), int(views.max())), NONE)
    favourites = people.favourites[user]
    liked = day.season[favourites] + rng.gumbel(size=(len(user), FAVOURITES))
    own = favourites[np.arange(len(user)), liked.argmax(axis=1)]
    leaf = np.where(rng.random(len(user)) < 0.55, own, wishes.leaf(len(user), rng))
    back = (rng.random(len(user)) < FROM_LAST) & (last >= 0)
    path[:, 0] = np.where(back, last, _by_taste(stock, people, wishes, user, leaf, rng))
    leaf = stock.shop.leaf[path[:, 0]]
    for step in range(1, path.shape[1]):
        on = np.flatnonzero(views > step)
        path[on, step] = _next(stock, people, wishes, user[on], path[on, :step], leaf[on], rng)
        leaf[on] = stock.shop.leaf[path[on, step]]
    return path


def _next(
    stock: Stocked, people: Crowd, wishes: Wishes, user: Longs, path: Longs, leaf: Longs, rng: np.random.Generator
) -> Longs:
    """Return the next item of visits (s,) that saw `path` (s, steps)."""
    count, steps = path.shape
    now, chance, place = path[:, -1], rng.random(count), rng.random(count)
    alike = stock.shop.alike[now, (place * stock.shop.alike.shape[1]).astype(int)]
    goes_with = stock.shop.companions[now, (place * stock.shop.companions.shape[1]).astype(int)]
    before = path[np.arange(count), steps - 1 - np.minimum(rng.geometric(0.4, count), steps - 1)]
    bounds = np.cumsum([AGAIN, ALIKE, COMPANION, DRIFT])
    way = np.searchsorted(bounds, chance)  # (s,)
    where = np.where(way == 3, wishes.leaf(count, rng), leaf)
    by_taste = _by_taste(stock, people, wishes, user, where, rng)
    found = np.choose(np.minimum(way, 3), [before, alike, goes_with, by_taste])
    return np.where(wishes.has(found), found, wishes.item(where, rng))


def _by_taste(
    stock: Stocked, people: Crowd, wishes: Wishes, user: Longs, leaf: Longs, rng: np.random.Generator
) -> Longs:
    """Return for each user (s,) the one of a few items of a category that is most to their taste."""
    items = wishes.item(np.repeat(leaf[:, None], _LOOKS, axis=1), rng)  # (s, looks)
    shop = stock.shop
    pull = rng.gumbel(size=items.shape) + 1.2 * (shop.style[items] == people.style[user, None])
    pull += 0.9 * (shop.band[items] == people.band[user, None]) + 0.5 * (shop.brand[items] == people.brand[user, None])
    return np.asarray(items[np.arange(len(user)), pull.argmax(axis=1)])


def times(path: Longs, start: Longs, rng: np.random.Generator) -> Longs:
    """Return when (s, longest) each view of visits that begin at `start` (s,) was opened: a gap of 40 s in the median,
    25 minutes at most, so that a visit is one session.
    """
    gaps = np.minimum(rng.lognormal(np.log(40_000), 1.1, path.shape), 1_500_000).astype(np.int64)
    gaps[:, 0] = 0
    return start[:, None] + np.cumsum(gaps, axis=1)


@dataclass(frozen=True, slots=True)
class Numbers:
    """The next session and the next order."""

    session: int
    order: int


def day_of_visits(
    stock: Stocked,
    people: Crowd,
    day: Today,
    visitors: tuple[Longs, Longs, Mask],
    start: Longs,
    last: Longs,
    numbers: Numbers,
    rng: np.random.Generator,
) -> tuple[Chunk, Longs, int]:
    """Return the events of visits that begin at `start` (s,), the last item of each (s,), and the number of orders.

    `visitors`: the user, the number of views, and whether they signed in (s,).
    """
    user, views, named = visitors
    path = walk(stock, people, day, user, views, last, rng)
    paths = Paths(path, times(path, start, rng))
    row, column = np.nonzero(paths.seen)
    item, ts_ms = path[row, column], paths.ts_ms[row, column]
    shown = np.where(named, user, NONE)
    device, region, agent = (getattr(people, name)[user] for name in ("device", "region", "agent"))

    def events(of: Longs, items: Longs, kind: int, at_ms: Longs) -> Chunk:
        about = {"user": shown[of], "device": device[of], "region": region[of], "agent": agent[of]}
        return visits_of(numbers.session + of, items, kind, at_ms, **about)

    ease = people.buys[user[row]] * (1 + 2 * day.discount[item]) * day.sold[item]
    takes = rng.random(len(row)) < np.minimum(_CART * ease, 0.6)
    cart = np.flatnonzero(takes)
    likes = np.flatnonzero(rng.random(len(row)) < _LIKE)
    taken = events(row[cart], item[cart], CART, ts_ms[cart] + rng.integers(2_000, 15_000, len(cart)))
    _dress(taken, stock, people, user[row[cart]], rng)
    ends = paths.ts_ms[np.arange(len(user)), views - 1]
    bought, orders = _bought(stock, day, taken, row[cart], ends, numbers.order, rng)
    liked = events(row[likes], item[likes], LIKE, ts_ms[likes] + rng.integers(1_000, 9_000, len(likes)))
    found = joined([events(row, item, VIEW, ts_ms), taken, bought, liked])
    return found, path[np.arange(len(user)), views - 1], orders


def _dress(taken: Chunk, stock: Stocked, people: Crowd, user: Longs, rng: np.random.Generator) -> None:
    """Fill the sizes of what is put into the cart: the user's, and sometimes another. In place."""
    off = rng.choice([-1, 0, 1], len(taken), p=[0.1, 0.8, 0.1])
    sized = stock.sizes[taken.item] > 0
    taken.size[sized] = np.clip(people.size[user] + off, 0, _SIZE_SLOTS.max() - 1)[sized]


def _bought(
    stock: Stocked, day: Today, taken: Chunk, of: Longs, ends: Longs, order: int, rng: np.random.Generator
) -> tuple[Chunk, int]:
    """Return the purchases of what visits `of` (n,) took, and how many orders they are. An item is one line."""
    pays = rng.random(len(ends)) < _BUY
    rides = pays[of] & (rng.random(len(of)) < _LINE)
    key = of * len(stock) + taken.item
    first = np.zeros(len(of), bool)
    first[np.unique(key, return_index=True)[1]] = True
    chosen = np.flatnonzero(rides & first)
    who, number = np.unique(of[chosen], return_inverse=True)
    done = np.maximum(ends, _latest(of, taken.ts_ms, len(ends))) + rng.integers(30_000, 300_000, len(ends))
    bought = taken.take(chosen)
    many = 1 + (rng.random(len(chosen)) < 0.08) * rng.geometric(0.5, len(chosen))
    price = np.round(stock.price * (1 - day.discount), 2)[bought.item]
    bought.kind[:] = PURCHASE
    bought.ts_ms[:] = done[of[chosen]]
    bought.order[:] = order + number
    bought.quantity[:] = many
    bought.value[:] = np.round(price * many, 2)
    return bought, len(who)


def _latest(of: Longs, ts_ms: Longs, visits: int) -> Longs:
    found = np.zeros(visits, np.int64)
    np.maximum.at(found, of, ts_ms)
    return found


def sent_back(bought: Chunk, stock: Stocked, day: int, rng: np.random.Generator) -> tuple[Longs, Longs]:
    """Return which of the purchases (n,) are sent back, and on which day: clothes and shoes most."""
    clothes = stock.sizes[bought.item] > 0
    chosen = np.flatnonzero(rng.random(len(bought)) < np.where(clothes, 0.24, 0.06))
    return chosen, day + 3 + rng.integers(0, 22, len(chosen))


def share_signed_in(user: Longs, activity: Float64s, rng: np.random.Generator) -> Mask:
    """Return whether each visit's user (s,) signed in: who comes often does more often."""
    return np.asarray(rng.random(len(user)) < 0.5 + 0.3 * np.minimum(activity[user] / 4, 1))
