"""Who gets which variant: a salted hash of the unit, so that every process says the same and nothing is stored.

A layer has a thousand buckets; a unit's hash, salted with the layer's name, says in which it is. An experiment's
variants own buckets of its layer, and no two experiments the same one: so experiments of a layer exclude each other,
those of different layers are independent, and a variant that grows keeps the units it has. Which of the free buckets
it gets is drawn by the experiment's name: so one that follows another does not meet its groups again.
Method: overlapping experiments in layers, Tang, Agarwal, O'Brien and Meyer, KDD 2010.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from contracts.errors import NextclickError

BUCKETS: Final = 1000
HOLDOUT: Final = "holdout"
"""Told as the variant of units that are kept out of all experiments of a layer."""

DRAWN: Final = "drawn"
INTERLEAVED: Final = "interleaved"
"""Told as the variant of a page that both variants made."""

Buckets = frozenset[int]


class NoRoom(NextclickError):
    """Other experiments of the layer have the buckets that a variant asks for."""

    def __init__(self, variant: int, wanted: int, free: int) -> None:
        super().__init__(
            f"expected a share of at most {_both(free)}, which is what other experiments of the layer leave, "
            f"got {_both(wanted)}: make it smaller, stop another, or name another `layer` "
            "(not where another runs on the same scenario)"
        )
        self.variant = variant


def bucket_of(layer: str, unit: str) -> int:
    """Return the bucket of a unit in a layer, 0 to 999."""
    return int(_digest(layer, unit) % BUCKETS)


def held_out(layer: str, unit: str, share: float) -> bool:
    """Say whether a unit is kept out of the experiments of a layer. A larger share keeps those out, too."""
    digest = _digest(HOLDOUT, layer, unit)
    return bool(digest < share * 2.0**64)


def digests_of(units: Sequence[bytes], *salt: str) -> NDArray[np.uint64]:
    """Return the hashes (n,) of many units, as `bucket_of` (salt: the layer) and `held_out` (HOLDOUT, the layer) use
    them. Units are UTF-8.
    """
    before, digest = "\0".join((*salt, "")).encode(errors="surrogatepass"), xxhash.xxh3_64_intdigest
    return np.fromiter((digest(before + unit) for unit in units), np.uint64, len(units))


def drawn(name: str, unit: str, shares: Sequence[float]) -> int:
    """Return which of an experiment's variants a unit is drawn, given the share (k,) of each: they add up to 1.

    A hash of the unit stands at one place between 0 and 1, and shares lie there one after the other. So a unit changes
    its variant only where an end of a share moves past it, and every process that has the same shares draws the same.
    """
    place, end = _digest(DRAWN, name, unit) / 2.0**64, 0.0
    for at, share in enumerate(shares):
        end += share
        if place < end:
            return at
    return max(at for at, share in enumerate(shares) if share > 0.0)  # what rounding left of 1


def allotted(
    name: str, wanted: Mapping[str, int], before: Mapping[str, Buckets], taken: Collection[int]
) -> dict[str, Buckets]:
    """Return the buckets of each variant of an experiment.

    name: the experiment's. wanted: number of buckets by variant. before: what its variants had; they keep these as far
    as they want so many. taken: buckets of others. Raises NoRoom.
    """
    order = sorted(range(BUCKETS), key=lambda bucket: _digest(name, str(bucket)))
    kept = {
        variant: [one for one in order if one in before.get(variant, ()) and one not in taken][:number]
        for variant, number in wanted.items()
    }
    held = {one for buckets in kept.values() for one in buckets}
    released = frozenset[int]().union(*before.values()) - held
    free = [one for one in order if one not in held and one not in taken and one not in released]
    free += [one for one in order if one in released and one not in taken]  # its units saw another variant
    for at, (variant, number) in enumerate(wanted.items()):
        more = number - len(kept[variant])
        if more > len(free):
            raise NoRoom(at, number, len(kept[variant]) + len(free))
        kept[variant], free = kept[variant] + free[:more], free[more:]
    return {variant: frozenset(buckets) for variant, buckets in kept.items()}


def _both(buckets: int) -> str:
    """Return a share as documents have it and as forms do: 0.4 (40%)."""
    return f"{buckets / BUCKETS:g} ({100 * buckets / BUCKETS:g}%)"


def _digest(*parts: str) -> int:
    return xxhash.xxh3_64_intdigest("\0".join(parts).encode(errors="surrogatepass"))


def mask_of(buckets: Iterable[int]) -> str:
    """Write buckets as a hexadecimal number with a bit for each."""
    return f"{sum(1 << bucket for bucket in set(buckets)):x}"


def buckets_of(mask: str) -> Buckets:
    """Read what `mask_of` wrote. Raises ValueError."""
    bits = int(mask, 16)
    if not 0 <= bits < 1 << BUCKETS:
        raise ValueError(f"expected a mask of {BUCKETS} buckets, got {mask[:40]!r}")
    return frozenset(bucket for bucket in range(BUCKETS) if bits >> bucket & 1)
