"""Lookups that kernels of several rooms share: a key's row, and numbers that numba does not know."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from compiled.kernels import inlined

_HALF_EXPONENTS: Final = np.ldexp(np.ones(32, np.float32), np.maximum(np.arange(32), 1) - 25).astype(np.float32)
"""By exponent of a float16, what one unit of its significand is worth."""


@inlined
def row_of(slot_keys: Any, slot_rows: Any, key: Any) -> Any:
    """Return a key's row in the slots of a `retrieval.key_rows.KeyRows`, -1 where it was never added."""
    mask = slot_keys.shape[0] - 1
    slot = np.int64(key & np.uint64(mask))
    while slot_rows[slot] >= 0 and slot_keys[slot] != key:
        slot = (slot + 1) & mask
    return slot_rows[slot]


@inlined
def half(bits: Any) -> Any:
    """Return the finite float16 of 0 or more that has these bits, as a float32."""
    exponent = np.int64(bits) >> 10
    significand = np.int64(bits) & 1023
    if exponent > 0:
        significand += 1024
    return np.float32(significand) * _HALF_EXPONENTS[exponent]


@inlined
def half_bits(value: Any) -> Any:
    """Return the bits of the float16 nearest to a float32 of 0 or more, as numpy rounds: `half` the other way round."""
    number = np.float32(value)
    bits = number.view(np.int32)
    rounded = np.int32(bits + np.int32(0xFFF - (112 << 23)) + (np.int32(bits >> np.int32(13)) & np.int32(1)))
    large = min(np.int32(rounded >> np.int32(13)), np.int32(0x7C00))
    small = np.int32(np.float32(number + np.float32(0.5)).view(np.int32) - np.int32(0x3F000000))
    # added to .5, its significand is rounded to these halves' unit
    return np.uint16(small if number < np.float32(2.0**-14) else large)
