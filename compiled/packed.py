"""Numbers inside bytes: records that are packed without alignment, read and written by kernels. Little-endian."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiled.kernels import inlined


@inlined
def number_at(raw: Any, at: Any, size: Any) -> Any:
    """Return the unsigned number in `size` bytes of an array of bytes, as a u8."""
    found = np.uint64(0)
    for byte in range(size):
        found |= np.uint64(raw[at + byte]) << np.uint64(8 * byte)
    return found


@inlined
def digits_at(raw: Any, begin: Any, end: Any) -> Any:
    """Return the number of 0 or more that decimal digits are, of 16 at most; -1 for none."""
    if not 0 < end - begin <= 16:
        return -1
    found: Any = 0
    for at in range(begin, end):
        digit = np.int64(raw[at]) - 48
        if not 0 <= digit <= 9:
            return -1
        found = 10 * found + digit
    return found


@inlined
def put_number(raw: Any, at: Any, size: Any, number: Any) -> None:
    """Write an unsigned number into `size` bytes of an array of bytes."""
    left = np.uint64(number)
    for byte in range(size):
        raw[at + byte] = np.uint8(left & np.uint64(255))
        left >>= np.uint64(8)
