"""One visit of a buyer, step by step: what is asked, seen, clicked, taken, bought and sent back. Nothing here waits."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from replay.synthetic.buyers import Habits, Taste, click_chances, look, seen_as
from replay.synthetic.shop import Shop

MOST_PIECES: Final = 5
Kind = Literal["view", "cart", "purchase", "return"]


@dataclass(frozen=True, slots=True)
class Page:
    """A list that was shown: items and their prices by position, and what the answer says it is part of."""

    request_id: str
    items: tuple[str, ...]
    prices: tuple[float | None, ...]
    experiment: str = ""
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """An item as it stood on a page, at `position` from 1. `value` is that of all `quantity` pieces."""

    item_id: str
    page: Page
    position: int
    price: float
    quantity: int = 1
    order_id: str | None = None

    @property
    def value(self) -> float:
        return round(self.price * self.quantity, 2)


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks for a list: on arrival, or on the page of an item. The next step needs the Page; None: there is none."""

    item_id: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """Looked at the first `depth` items of a page."""

    page: Page
    depth: int


@dataclass(frozen=True, slots=True)
class Act:
    """Something to be told as an event."""

    kind: Kind
    line: Line


Step = Ask | Seen | Act
Visit = Generator[Step, Page | None, None]


def visit(
    shop: Shop,
    where: Mapping[str, int],
    taste: Taste,
    habits: Habits,
    rng: np.random.Generator,
    *,
    order_id: str,
    bought: Sequence[Line] = (),
) -> Visit:
    """Walk through one visit: yields steps, and is sent a Page for each Ask, None for all others.

    where: `places(shop)`. order_id: of what is bought. bought: lines of earlier visits, some of which are sent back.
    """
    for line in bought:
        if rng.random() < habits.returns:
            yield Act("return", line)
    cart: list[Line] = []
    viewed = set[str]()
    opened: str | None = None
    for _ in range(habits.most_pages):
        page = yield Ask(opened)
        if page is None or not page.items:
            break
        opened = yield from _on_page(shop, where, page, taste, habits, rng, viewed, cart)
        if opened is None and rng.random() >= habits.stays:
            break
    if cart and rng.random() < habits.buys:
        for line in cart:
            yield Act("purchase", _bought(line, order_id, rng))


def _on_page(
    shop: Shop,
    where: Mapping[str, int],
    page: Page,
    taste: Taste,
    habits: Habits,
    rng: np.random.Generator,
    viewed: set[str],
    cart: list[Line],
) -> Generator[Step, Page | None, str | None]:
    """Look down a page, click and take. Returns the item clicked last; adds to `viewed` and `cart`."""
    at, prices = seen_as(where, page.items, page.prices)
    chances = click_chances(shop, taste, at, prices, habits)
    chances[[item_id in viewed for item_id in page.items]] = 0.0
    found = look(chances, habits, rng)
    yield Seen(page, found.depth)
    opened: str | None = None
    for place in found.clicked:
        opened = page.items[place]
        line = Line(opened, page, place + 1, page.prices[place] or 0.0)
        viewed.add(opened)
        yield Act("view", line)
        if place in found.taken:
            cart.append(line)
            yield Act("cart", line)
    return opened


def _bought(line: Line, order_id: str, rng: np.random.Generator) -> Line:
    pieces = min(int(rng.geometric(0.85)), MOST_PIECES)
    return Line(line.item_id, line.page, line.position, line.price, pieces, order_id)
