"""What ended sessions put in the cart or bought together with the items of a basket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from contracts.settings import Group
from retrieval.sources.source import Batch, Float32s, Found, Mask, Rung, Source, laid_out

_SESSIONS: Final = 500
"""Newest ended sessions of each item of the basket that are asked."""


class Sizes(Group):
    bought_together: int = Field(
        default=30,
        ge=0,
        le=200,
        description="Items that ended sessions took together with the cart, or with the item of a product page.",
    )


@dataclass(frozen=True, kw_only=True)
class Numbers:
    bought_together: Float32s
    """(c,) sessions that took the item together with one of the basket, each item of it counted; NaN for none."""


class BoughtTogether(Found, frozen=True):
    """Items of ended sessions."""

    sessions: Float32s
    """(t,)"""


NOTHING = BoughtTogether(np.zeros(0, np.int32), np.zeros(0, np.int32), None, np.zeros(0, np.float32))


def bring(batch: Batch, sizes: Sizes) -> BoughtTogether:
    baskets, catalogue = batch.contexts.baskets, batch.state.catalogue
    if baskets is None or not sizes.bought_together or not catalogue.count:
        return NOTHING
    request, keys, sessions = batch.state.ended.bought_with(baskets, most=sizes.bought_together, newest=_SESSIONS)
    rows = catalogue.rows_of(keys)
    here = (rows >= 0) & catalogue.alive[rows]
    return BoughtTogether(request[here], rows[here], None, sessions[here].astype(np.float32))


def lay_out(found: BoughtTogether, place: NDArray[np.intp], n: int) -> Numbers:
    return Numbers(bought_together=laid_out(n, place, found.sessions))


def knows(numbers: Numbers) -> Mask:
    return numbers.bought_together > 0


SOURCE = Source(
    name="bought_together",
    brings="items that ended sessions put in the cart or bought together with the basket",
    settings=("bought_together",),
    rung=Rung.CO_VISITATION,
    numbers=Numbers,
    bring=bring,
    nothing=NOTHING,
    lay_out=lay_out,
    knows=knows,
)
