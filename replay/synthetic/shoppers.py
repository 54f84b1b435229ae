"""A synthetic shop and its shoppers: a catalogue and click streams that behave enough like real ones to learn from.

Everything follows from the generator that is passed in: the same seed, the same shop, the same shoppers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.events import Event
from eventlog.files import Header, write_events, write_items
from replay.synthetic.leanings import Lean, Leanings
from replay.synthetic.shop import (
    ALIKE,
    BRANDS_A_LEAF,
    COMPANIONS,
    DEFAULT_ITEMS,
    DEFAULT_SEED,
    Shop,
    default_shop,
    favourite_brands,
    make_shop,
)
from replay.synthetic.words import BANDS, BRANDS, DEVICES, LEAVES, REGIONS, STYLES

__all__ = ["DEFAULT_ITEMS", "DEFAULT_SEED", "Shop", "Tastes", "default_shop", "make_shop", "shoppers", "write_shop"]

DAY_MS: Final = 86_400_000
CURRENCY: Final = "EUR"
FIRST_DAY_MS: Final = 1_767_571_200_000
"""2026-01-05, a Monday: when shoppers come unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Tastes:
    """How far visitors who signed in keep their tastes: a `share` of their visits follows them.

    `visitors` share all visits; a taste is `categories` categories, a brand, a style and a price band.
    """

    visitors: int
    share: float = 0.8
    categories: int = 3

    def __post_init__(self) -> None:
        if self.visitors < 1 or self.categories < 1 or not 0.0 <= self.share <= 1.0:
            raise ValueError(f"expected visitors and categories of at least 1 and a share from 0 to 1, got {self}")


def shoppers(
    shop: Shop,
    sessions: int,
    rng: np.random.Generator,
    *,
    start_ms: int = FIRST_DAY_MS,
    span_ms: int = 7 * DAY_MS,
    name: str = "shopper",
    tastes: Tastes | None = None,
    leanings: Leanings | None = None,
) -> Iterator[Event]:
    """Yield the events of `sessions` visits that begin within `span_ms` of `start_ms`, in time order.

    A visitor comes with an intent (category, brand, taste, price band), looks at what fits and is popular at the
    time, compares similar items, drifts to neighbouring categories and to what goes with a thing just put in the
    cart, and sometimes buys. `name` begins every session, event and user id, and keeps two calls apart. With `tastes`
    a visitor who signed in has an intent of their own, which lasts from visit to visit; with `leanings` device, hour,
    weekday and season have their own items.
    """
    begins = start_ms + _begin_ms(sessions, span_ms, rng)
    region = rng.integers(len(REGIONS), size=sessions)
    device = rng.choice(len(DEVICES), sessions, p=[0.6, 0.33, 0.07])
    visitors = max(sessions // 2, 1) if tastes is None else tastes.visitors
    user = rng.integers(visitors, size=sessions)
    signed_in = rng.random(sessions) < 0.5
    wishes = None if tastes is None else _own_wishes(tastes, user, signed_in, rng)
    where = _Where(region, device, None if leanings is None else leanings.of(len(shop)))
    blocks = [
        _walk(shop, np.arange(at, min(at + _BLOCK, sessions)), begins, where, rng, wishes)
        for at in range(0, sessions, _BLOCK)
    ]
    if not blocks:
        return
    session, item, kind, ts_ms = (
        np.concatenate([getattr(block, column) for block in blocks]) for column in ("session", "item", "kind", "ts_ms")
    )
    contexts = [{"device": one, "region": there} for one in DEVICES for there in REGIONS]
    for number, at in enumerate(np.argsort(ts_ms, kind="stable").tolist()):
        who = int(session[at])
        item_id, about = shop.items[item[at]]
        what = _KINDS[kind[at]]
        yield Event(
            v=1,
            event_id=f"{name}-{number}",
            type=what,
            session_id=f"{name}-s{who}",
            user_id=f"{name}-u{user[who]}" if signed_in[who] else None,
            item_id=item_id,
            ts=int(ts_ms[at]),
            context=contexts[device[who] * len(REGIONS) + region[who]],
            value=about.price if what == "purchase" else None,
            currency=CURRENCY if what == "purchase" else None,
        )


def write_shop(shop: Shop, events: Iterable[Event], folder: Path) -> Header:
    """Write `items.jsonl.zst` and `events.jsonl.zst` into `folder`; returns the header of the events."""
    write_items(folder / "items.jsonl.zst", shop.items)
    return write_events(folder / "events.jsonl.zst", events)


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What each session (s,) would choose by its visitor's taste, and whether it does: `follows`."""

    follows: NDArray[np.bool_]
    leaf: NDArray[np.int64]
    brand: NDArray[np.int64]
    style: NDArray[np.int64]
    band: NDArray[np.int64]


def _own_wishes(
    tastes: Tastes, user: NDArray[np.int64], signed_in: NDArray[np.bool_], rng: np.random.Generator
) -> _Wishes:
    """Draw every visitor's categories, brand, style and price band, and one of the categories for each session."""
    favourites = rng.integers(len(LEAVES), size=(tastes.visitors, tastes.categories))
    brand = rng.integers(BRANDS_A_LEAF, size=tastes.visitors)
    style, band = rng.integers(STYLES, size=tastes.visitors), rng.integers(len(BANDS), size=tastes.visitors)
    leaf = favourites[user, rng.integers(tastes.categories, size=len(user))]
    return _Wishes(
        follows=signed_in & (rng.random(len(user)) < tastes.share),
        leaf=leaf,
        brand=(leaf * 7 + brand[user]) % len(BRANDS),
        style=style[user],
        band=band[user],
    )


@dataclass(frozen=True, slots=True)
class _Where:
    """Each session's region and device, (s,), and what these and the time make it want."""

    region: NDArray[np.int64]
    device: NDArray[np.int64]
    lean: Lean | None

    def of(self, who: NDArray[np.int64]) -> _Where:
        """Return those of sessions (b,)."""
        return _Where(self.region[who], self.device[who], self.lean)


@dataclass(frozen=True, slots=True)
class _Clicks:
    """Clicks of many sessions: all columns (clicks,). `kind` indexes `_KINDS`."""

    session: NDArray[np.int64]
    item: NDArray[np.int64]
    kind: NDArray[np.int64]
    ts_ms: NDArray[np.int64]


_KINDS: Final = ("view", "cart", "purchase")
_BLOCK: Final = 1024
"""Sessions walked together: bounds the memory of their choices."""


def _begin_ms(sessions: int, span_ms: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Spread visits over the span, more of them in the evening than at night."""
    even = rng.random(sessions) * span_ms
    if span_ms < DAY_MS:
        return even.astype(np.int64)
    day, hour = np.divmod(even / DAY_MS, 1.0)
    return ((day + np.clip(hour - 0.09 * np.sin(2 * np.pi * (hour - 0.3)), 0.0, 0.9999)) * DAY_MS).astype(np.int64)


def _walk(
    shop: Shop,
    who: NDArray[np.int64],
    begins: NDArray[np.int64],
    where: _Where,
    rng: np.random.Generator,
    wishes: _Wishes | None = None,
) -> _Clicks:
    """Walk the sessions `who` through the shop, one click of all of them at a time."""
    count = len(who)
    leaf = np.argmax(shop.leaf_appeal + rng.gumbel(size=(count, len(shop.leaf_appeal))), axis=1)
    brand = favourite_brands(leaf, rng)
    style, band = rng.integers(STYLES, size=count), rng.integers(len(BANDS), size=count)
    if wishes is not None:
        own = wishes.follows[who]
        leaf, brand = np.where(own, wishes.leaf[who], leaf), np.where(own, wishes.brand[who], brand)
        style, band = np.where(own, wishes.style[who], style), np.where(own, wishes.band[who], band)
    length = np.minimum(1 + rng.geometric(0.2, count), 40)
    now = begins[who]
    here = where.of(who)
    current = _from_shelf(shop, leaf, (brand, style, band), here, now, rng)
    columns: list[tuple[NDArray[np.int64], ...]] = [(who, current, np.zeros(count, np.int64), now)]
    in_cart = np.full(count, -1)
    for at in range(1, int(length.max(initial=1))):
        now = now + (4_000 + rng.lognormal(9.8, 0.9, count)).astype(np.int64)
        fate = rng.random(count)
        active = at < length
        buys = active & (in_cart >= 0) & (fate < 0.15)
        carts = active & ~buys & (in_cart != current) & (fate < 0.12 + 0.1 * (shop.band[current] == band))
        leaf = np.where(rng.random(count) < 0.06, _beside(leaf, rng), leaf)
        looked = _next_look(shop, current, leaf, (brand, style, band), here, in_cart >= 0, now, rng)
        following = np.where(buys, in_cart, np.where(carts, current, looked))
        columns.append(
            tuple(column[active] for column in (who, following, np.where(buys, 2, np.where(carts, 1, 0)), now))
        )
        in_cart = np.where(buys, -1, np.where(carts, current, in_cart))
        current = following
        leaf = shop.leaf[current]
    return _Clicks(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))


def _next_look(
    shop: Shop,
    current: NDArray[np.int64],
    leaf: NDArray[np.int64],
    taste: tuple[NDArray[np.int64], ...],
    where: _Where,
    has_cart: NDArray[np.bool_],
    now: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Choose what each session (b,) looks at next: something alike, something that goes with it, or from the shelf."""
    way = rng.random(len(current))
    # the first ones of a list are looked at most
    place = np.minimum(rng.geometric(0.4, len(current)) - 1, ALIKE - 1)
    alike = shop.alike[current, place]
    companion = shop.companions[current, np.minimum(place, COMPANIONS - 1)]
    if where.lean is not None:
        alike = _leaning(shop.alike[current], where.lean, where.device, now, rng)
        companion = _leaning(shop.companions[current], where.lean, where.device, now, rng)
    shelf = _from_shelf(shop, leaf, taste, where, now, rng, besides=current)
    with_it = np.where(has_cart, 0.35, 0.06)
    chosen = np.where(way < with_it, companion, np.where(way < with_it + 0.4, alike, shelf))
    sold = shop.sold_in[chosen, where.region] & (chosen != current)
    return np.where(sold, chosen, shelf)


def _leaning(
    listed: NDArray[np.int64],
    lean: Lean,
    device: NDArray[np.int64],
    now: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Choose one of each session's list (b, l), whose first ones are looked at most, by what the moment wants (b,)."""
    wish = np.log(0.6) * np.arange(listed.shape[1]) + lean.pull(listed, device, now)
    best = np.argmax(wish + rng.gumbel(size=wish.shape), axis=1)
    chosen: NDArray[np.int64] = listed[np.arange(len(listed)), best]
    return chosen


def _from_shelf(
    shop: Shop,
    leaf: NDArray[np.int64],
    taste: tuple[NDArray[np.int64], ...],
    where: _Where,
    now: NDArray[np.int64],
    rng: np.random.Generator,
    besides: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Choose an item (b,), another than `besides`, from each session's category: by taste, the day, and chance."""
    shelf = shop.shelves[leaf]  # (b, longest)
    days = (now / DAY_MS)[:, None]  # (b, 1)
    wish = shop.appeal[shelf] + 0.8 * np.sin(2 * np.pi * days / shop.wave[shelf, 0] + shop.wave[shelf, 1])
    for wanted, column, weight in zip(taste, (shop.brand, shop.style, shop.band), (1.0, 1.8, 1.4), strict=True):
        wish += weight * (column[shelf] == wanted[:, None])
    if where.lean is not None:
        wish = wish + where.lean.pull(shelf, where.device, now)
    wish[(shelf < 0) | ~shop.sold_in[shelf, where.region[:, None]]] = -1e9
    if besides is not None:
        wish[shelf == besides[:, None]] = -1e8
    best = np.argmax(wish + rng.gumbel(size=wish.shape), axis=1)
    found: NDArray[np.int64] = shelf[np.arange(len(leaf)), best]
    return found


def _beside(leaf: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return another category near each of `leaf`: the tree lists groups together."""
    return np.asarray(np.clip(leaf + rng.choice([-2, -1, 1, 2], len(leaf)), 0, len(LEAVES) - 1))
