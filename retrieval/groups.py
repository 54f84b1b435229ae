"""Groups of visitors: by region, by device, and by age band. What a group clicks is counted as an item's company is.

A group has a row of the trends table of its own, under a key that no event names. Its clicks are the row's clicks, and
the items that it clicks are the row's neighbours, clicked after it. So one core counts groups in the flow and in
training, one table hands them on, and what bounds items (`trend.max_items`, `trend.visitors`) bounds groups too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from contracts.ids import ItemKey

LONGEST: Final = 64
"""Characters of a region or a device; what is longer names no group."""
AGE_BANDS: Final = (13, 18, 25, 35, 45, 55, 65)
"""Ages at which a band begins; the first band is of those below 13."""
_OLDEST: Final = 150
_LOW_BITS: Final = 24
_MASK: Final = (1 << _LOW_BITS) - 1
_TAG: Final = 0x6B0C2D
"""The low bits of every group's key. One item in 16 million has them by chance: it is left out of what trends."""

NO_GROUP: Final = ItemKey(0)
Groups = tuple[ItemKey, ...]


def groups_of(region: object = None, device: object = None, age: object = None) -> Groups:
    """Return the keys of the groups that a visitor is of, 3 at most. What is no text of 1 to 64 characters, or no age
    from 0 to 150 years, names none. Case and blanks around a text make no difference.
    """
    found = [key for key in (region_group(region), device_group(device)) if key]
    if isinstance(age, int | float) and not isinstance(age, bool) and 0 <= age <= _OLDEST:
        found.append(_key("age", str(sum(age >= begins for begins in AGE_BANDS))))
    return tuple(found)


def region_group(region: object) -> ItemKey:
    """Return the key of a region's group; 0 for what names none."""
    return _named("region", region)


def device_group(device: object) -> ItemKey:
    """Return the key of a device's group; 0 for what names none."""
    return _named("device", device)


def groups_in(context: Mapping[str, Any] | None) -> Groups:
    """Return the groups that an event's `context` names: by its `region`, `device` and `age`."""
    if not context:
        return ()
    return groups_of(context.get("region"), context.get("device"), context.get("age"))


def are_groups(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell which keys (n,) are of groups."""
    found: NDArray[np.bool_] = (keys & np.uint64(_MASK)) == np.uint64(_TAG)
    return found


def _named(kind: str, value: object) -> ItemKey:
    return _key(kind, value) if isinstance(value, str) and 0 < len(value) <= LONGEST else NO_GROUP


@lru_cache(maxsize=4096)
def _key(kind: str, value: str) -> ItemKey:
    name = f"{kind}\0{value.strip().lower()}"
    return ItemKey(xxhash.xxh3_64_intdigest(name.encode(errors="surrogatepass")) & ~_MASK | _TAG)
