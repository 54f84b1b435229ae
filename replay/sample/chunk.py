"""Events as columns: what the sample is made of, one day at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

Longs = NDArray[np.int64]
Bytes = NDArray[np.int8]
Float64s = NDArray[np.float64]
Mask = NDArray[np.bool_]

KINDS: Final = ("view", "cart", "purchase", "return", "like")
VIEW, CART, PURCHASE, RETURN, LIKE = range(len(KINDS))
DAY_MS: Final = 86_400_000
NONE: Final = -1


@dataclass(frozen=True, slots=True)
class Chunk:
    """Events (n,). `session`, `user`, `item`, `order` are numbers, -1 for none; `kind` a place in KINDS; `value` the
    price of all `quantity` pieces, NaN where none; `size` a place in the item's sizes, -1 for none; `device`,
    `region` and `agent` are places in lists of the same names.
    """

    session: Longs
    user: Longs
    item: Longs
    kind: Bytes
    ts_ms: Longs
    order: Longs
    quantity: Longs
    value: Float64s
    size: Bytes
    device: Bytes
    region: Bytes
    agent: Bytes

    def __len__(self) -> int:
        return len(self.session)

    def take(self, chosen: Longs | Mask) -> Self:
        """Return the events at these places, or where the mask holds."""
        return type(self)(*(getattr(self, one.name)[chosen] for one in fields(self)))

    def in_time_order(self) -> Self:
        return self.take(np.argsort(self.ts_ms, kind="stable"))


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Return the events of several chunks, one after the other."""
    columns = (np.concatenate([getattr(chunk, one.name) for chunk in chunks]) for one in fields(Chunk))
    return Chunk(*columns)


def visits_of(
    session: Longs, item: Longs, kind: int, ts_ms: Longs, *, user: Longs, device: Bytes, region: Bytes, agent: Bytes
) -> Chunk:
    """Return events of one kind, without order, value and size. All columns (n,)."""
    count = len(session)
    return Chunk(
        session=session,
        user=user,
        item=item,
        kind=np.full(count, kind, np.int8),
        ts_ms=ts_ms,
        order=np.full(count, NONE),
        quantity=np.ones(count, np.int64),
        value=np.full(count, np.nan),
        size=np.full(count, NONE, np.int8),
        device=device,
        region=region,
        agent=agent,
    )
