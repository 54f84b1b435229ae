"""What the sample shop sells: the synthetic shop's catalogue, with sizes, pictures, and the day that an item came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from contracts.items import Item
from replay.sample.chunk import Bytes, Float64s, Longs
from replay.synthetic.shop import Shop, make_shop
from replay.synthetic.words import LEAVES

SIZES: Final = ((), ("XS", "S", "M", "L", "XL", "XXL"), ("36", "38", "40", "42", "44", "46"))
"""Sizes of items without any, of clothes, of shoes."""
_CLOTHES: Final = (
    "jackets", "shirts", "shorts", "jerseys", "dresses", "coats", "knitwear", "chinos", "belts", "blazers", "gloves",
)  # fmt: skip
_SHOES: Final = ("boots", "shoes", "sneakers", "socks")
NEW: Final = 0.3
"""Share of the items that come while the sample goes on; the others were there before."""


@dataclass(frozen=True, slots=True)
class Stocked:
    """The catalogue: `shop` with columns over its n items. `came` is the day that an item came, -1 for before;
    `sizes` a place in SIZES; `firsts` (leaves + 1,) where the items of each category begin: they lie together.
    """

    shop: Shop
    items: tuple[tuple[str, Item], ...]
    came: Longs
    sizes: Bytes
    price: Float64s
    supplier: Longs
    suppliers: tuple[str, ...]
    firsts: Longs

    def __len__(self) -> int:
        return len(self.items)


def stocked(rng: np.random.Generator, items: int, days: int) -> Stocked:
    """Stock a shop of `items` items for `days` days."""
    shop = make_shop(rng, items)
    came = np.where(rng.random(items) < NEW, rng.integers(days, size=items), -1)
    kinds = np.array([_sizes_of(leaf.slug) for leaf in LEAVES], np.int8)[shop.leaf]
    whole = tuple(
        (name, _complete(name, item, SIZES[kind])) for (name, item), kind in zip(shop.items, kinds, strict=True)
    )
    names = sorted({item.supplier or "" for _, item in whole})
    number = {name: at for at, name in enumerate(names)}
    return Stocked(
        shop=shop,
        items=whole,
        came=came,
        sizes=kinds,
        price=np.array([item.price or 0.0 for _, item in whole]),
        supplier=np.array([number[item.supplier or ""] for _, item in whole]),
        suppliers=tuple(names),
        firsts=np.searchsorted(shop.leaf, np.arange(len(LEAVES) + 1)),
    )


def _sizes_of(slug: str) -> int:
    last = slug.rpartition("-")[2]
    return 1 if last in _CLOTHES else 2 if last in _SHOES else 0


def _complete(item_id: str, item: Item, sizes: tuple[str, ...]) -> Item:
    attributes = {**(item.attributes or {}), **({"sizes": list(sizes)} if sizes else {})}
    picture = f"https://shop.example/pictures/{item_id}.jpg"
    return item.model_copy(update={"attributes": attributes, "image_url": picture})
