"""The catalogue of the synthetic shop: items, and what makes shoppers choose one over another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.items import Item
from replay.synthetic.words import (
    ADJECTIVES,
    BANDS,
    BRANDS,
    COLOURS,
    GEAR_ADJECTIVES,
    LEAVES,
    LINES,
    MATERIALS,
    REGIONS,
    STYLES,
    SUPPLIERS,
    USES,
    Leaf,
)

DEFAULT_SEED: Final = 7
DEFAULT_ITEMS: Final = 6_000

ALIKE: Final = 6
"""Items that shoppers compare an item with."""
COMPANIONS: Final = 4
"""Items bought together with an item."""
BRANDS_A_LEAF: Final = 12
_AT_ONCE: Final = 2000
"""Items whose likeness to their shelves memory holds at once."""


@dataclass(frozen=True, slots=True)
class Shop:
    """The catalogue, and what shoppers see in it: columns over the n items.

    `leaf`, `brand`, `style`, `band` (n,) are codes; `appeal` (n,) the log of how often an item is chosen when
    nothing else decides; `wave` (n, 2) the period in days and phase of its ups and downs; `alike` (n, ALIKE) and
    `companions` (n, COMPANIONS) places of items; `sold_in` (n, regions); `shelves` (leaves, longest) the items of
    each leaf, padded with -1; `leaf_appeal` (leaves,).
    """

    items: tuple[tuple[str, Item], ...]
    leaf: NDArray[np.int64]
    brand: NDArray[np.int64]
    style: NDArray[np.int64]
    band: NDArray[np.int64]
    appeal: NDArray[np.float64]
    wave: NDArray[np.float64]
    alike: NDArray[np.int64]
    companions: NDArray[np.int64]
    sold_in: NDArray[np.bool_]
    shelves: NDArray[np.int64]
    leaf_appeal: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.items)


def default_shop() -> Shop:
    """Return the shop that the artifacts in `nextclick/shop_artifacts` were trained for."""
    return make_shop(np.random.default_rng(DEFAULT_SEED))


def make_shop(rng: np.random.Generator, items: int = DEFAULT_ITEMS) -> Shop:
    """Stock a shop of `items` items, at least as many as there are categories."""
    if items < len(LEAVES):
        raise ValueError(f"expected at least {len(LEAVES)} items, one a category, got {items}")
    leaf = np.sort(np.concatenate([np.arange(len(LEAVES)), rng.integers(len(LEAVES), size=items - len(LEAVES))]))
    brand = favourite_brands(leaf, rng)
    style = rng.integers(STYLES, size=items)
    band = rng.choice(len(BANDS), items, p=[0.35, 0.4, 0.25])
    shelves = _shelves(leaf)
    catalogue = _catalogue(leaf, brand, style, band, rng)
    sold_in = np.array([[item.regions is None or name in item.regions for name in REGIONS] for _, item in catalogue])
    shelf_rank = rng.permuted(np.where(shelves >= 0, np.arange(shelves.shape[1]), shelves.shape[1]), axis=1)
    appeal = np.empty(items)
    appeal[shelves[shelves >= 0]] = -0.8 * np.log1p(shelf_rank[shelves >= 0])
    appeal -= np.array([3.0 if item.stock == 0 else 0.0 for _, item in catalogue])
    traits = (brand, style, band)
    companion_leaf = np.array([_leaf_number(one.companion) for one in LEAVES])
    return Shop(
        items=catalogue,
        leaf=leaf,
        brand=brand,
        style=style,
        band=band,
        appeal=appeal,
        wave=np.column_stack([rng.uniform(2.0, 12.0, items), rng.uniform(0.0, 2 * np.pi, items)]),
        alike=_nearest(shelves, leaf, traits, ALIKE, rng),
        companions=_nearest(shelves, companion_leaf[leaf], traits, COMPANIONS, rng),
        sold_in=sold_in,
        shelves=shelves,
        leaf_appeal=-0.7 * np.log1p(rng.permutation(len(LEAVES))),
    )


def _catalogue(
    leaf: NDArray[np.int64],
    brand: NDArray[np.int64],
    style: NDArray[np.int64],
    band: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[tuple[str, Item], ...]:
    count = len(leaf)
    price = np.array([LEAVES[number].price for number in leaf]) * np.exp(0.55 * (band - 1) + rng.normal(0, 0.12, count))
    margin = np.clip(rng.normal(0.32, 0.1, count), 0.05, 0.65)
    stock = np.where(rng.random(count) < 0.04, 0, 1 + rng.geometric(1 / 60, count))
    words = rng.integers(1 << 30, size=(count, 6))
    limited = rng.random(count) < 0.08
    on_shelf = np.arange(count) - np.searchsorted(leaf, leaf)
    found = []
    for at in range(count):
        about = LEAVES[leaf[at]]
        title, description, attributes = _texts(
            about, int(brand[at]), int(style[at]), int(band[at]), words[at].tolist()
        )
        first = int(words[at, 5]) % len(REGIONS)
        item = Item.model_construct(
            title=title,
            description=description,
            category=about.path,
            brand=BRANDS[brand[at]],
            supplier=SUPPLIERS[(brand[at] * 5 + words[at, 4] % 2) % len(SUPPLIERS)],
            price=round(float(price[at]), 2),
            margin=round(float(margin[at]), 3),
            stock=int(stock[at]),
            regions=sorted({REGIONS[first], REGIONS[(first + 2) % len(REGIONS)]}) if limited[at] else None,
            min_age=about.min_age or None,
            attributes=attributes,
        )
        found.append((f"{about.slug}-{on_shelf[at] + 1}", item))
    return tuple(found)


def _texts(leaf: Leaf, brand: int, style: int, band: int, words: list[int]) -> tuple[str, str, dict[str, str]]:
    adjectives = ADJECTIVES.get(leaf.department, GEAR_ADJECTIVES)[style]
    adjective, use = adjectives[words[0] % len(adjectives)], USES[style][words[2] % len(USES[style])]
    material = MATERIALS[leaf.department][style]
    line, colour = LINES[words[3] % len(LINES)], COLOURS[words[1] % len(COLOURS)]
    title = " ".join(part for part in (BRANDS[brand], line, BANDS[band], adjective, leaf.noun) if part)
    group = leaf.path.split("/")[1]
    made = f"{adjective.capitalize()} {leaf.noun} with {material}, in {colour}."
    return title, f"{made} Made for {use}; from our {group} range.", {"colour": colour, "material": material}


def _shelves(leaf: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.bincount(leaf, minlength=len(LEAVES))
    shelves = np.full((len(LEAVES), int(counts.max())), -1)
    shelves[leaf, np.arange(len(leaf)) - np.searchsorted(leaf, leaf)] = np.arange(len(leaf))
    return shelves


def _nearest(
    shelves: NDArray[np.int64],
    of: NDArray[np.int64],
    traits: tuple[NDArray[np.int64], ...],
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Return `count` other items (n, count) from each item's shelf, `shelves[of]` (n, longest), most alike first.

    Part of what makes two items alike is chance: content cannot tell it, shared sessions can.
    """
    found = np.empty((len(of), count), np.int64)
    for at in range(0, len(of), _AT_ONCE):
        own = np.arange(at, min(at + _AT_ONCE, len(of)))[:, None]  # (b, 1)
        there = shelves[of[own[:, 0]]]  # (b, longest)
        likeness = rng.gumbel(size=there.shape)
        for trait, weight in zip(traits, (0.8, 1.6, 1.2), strict=True):
            likeness += weight * (trait[there] == trait[own])
        likeness[(there < 0) | (there == own)] = -np.inf
        best = np.argsort(-likeness, axis=1)[:, :count]  # (b, count), fewer in a small shop
        near = np.take_along_axis(there, best, axis=1)
        near = np.where(np.isfinite(np.take_along_axis(likeness, best, axis=1)), near, own)
        found[own[:, 0]] = np.hstack([near, np.repeat(own, count - near.shape[1], axis=1)])
    return found


def _leaf_number(slug: str) -> int:
    return next(number for number, leaf in enumerate(LEAVES) if leaf.slug == slug)


def favourite_brands(leaf: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a brand (n,) that is sold in each of the leaves (n,)."""
    return np.asarray((leaf * 7 + rng.integers(BRANDS_A_LEAF, size=len(leaf))) % len(BRANDS))
