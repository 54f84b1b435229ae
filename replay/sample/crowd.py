"""Who visits the sample shop: how often, from where, by what, and what they like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from replay.sample.chunk import Bytes, Float64s, Longs
from replay.synthetic.shop import favourite_brands
from replay.synthetic.words import BANDS, DEVICES, LEAVES, REGIONS, STYLES

AGENTS: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; K) AppleWebKit/537.36 Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (X11; Linux x64) AppleWebKit/537.36 HeadlessChrome/126.0.0.0 Safari/537.36",
)
"""User agents: of humans by device (two mobile, two desktop, one tablet), then of a crawler and of a script."""
CRAWLER: Final = 5
HEADLESS: Final = 6
DESKTOP: Final = 2
_FIRST_AGENT: Final = np.array([0, 2, 4])
_AGENTS_OF: Final = np.array([2, 2, 1])
FAVOURITES: Final = 3
THERE_BEFORE: Final = 0.45
"""Share of the users who knew the shop when the sample begins; the others come first on a day of it."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """The users (u,): `activity` how often they come, `since` their first day, `favourites` (u, FAVOURITES) categories,
    `style`, `band` and `brand` of their taste, `size`, `device`, `region`, `agent`, `buys` how easily they buy.
    """

    activity: Float64s
    since: Longs
    favourites: Longs
    style: Longs
    band: Longs
    brand: Longs
    size: Bytes
    device: Bytes
    region: Bytes
    agent: Bytes
    buys: Float64s

    def __len__(self) -> int:
        return len(self.activity)


def crowd(rng: np.random.Generator, users: int, days: int, leaf_appeal: Float64s) -> Crowd:
    """Draw `users` users. `leaf_appeal` (leaves,) is the log of how many like each category."""
    liking = np.exp(leaf_appeal)
    favourites = rng.choice(len(LEAVES), (users, FAVOURITES), p=liking / liking.sum())
    device = rng.choice(len(DEVICES), users, p=[0.6, 0.33, 0.07])
    agent = _FIRST_AGENT[device] + rng.integers(_AGENTS_OF[device])
    return Crowd(
        activity=rng.lognormal(0.0, 1.15, users),
        since=np.where(rng.random(users) < THERE_BEFORE, 0, rng.integers(days, size=users)),
        favourites=favourites,
        style=rng.integers(STYLES, size=users),
        band=rng.choice(len(BANDS), users, p=[0.35, 0.4, 0.25]),
        brand=favourite_brands(favourites[:, 0], rng),
        size=rng.choice(6, users, p=[0.08, 0.2, 0.28, 0.24, 0.14, 0.06]).astype(np.int8),
        device=device.astype(np.int8),
        region=rng.integers(len(REGIONS), size=users).astype(np.int8),
        agent=agent.astype(np.int8),
        buys=rng.lognormal(0.0, 0.6, users),
    )
