"""Sorting inside kernels: small, quick to compile, and in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiled.kernels import inlined


@inlined
def sort_numbers(numbers: Any, begin: int, end: int) -> None:
    """Sort numbers[begin:end], smallest first (Shell's sort, with Ciura's gaps up to some thousand)."""
    for gap in (1577, 701, 301, 132, 57, 23, 10, 4, 1):
        for at in range(begin + gap, end):
            number, to = numbers[at], at
            while to >= begin + gap and numbers[to - gap] > number:
                numbers[to] = numbers[to - gap]
                to -= gap
            numbers[to] = number


@inlined
def keep_smallest(numbers: Any, end: int, wanted: int) -> None:
    """Move the `wanted` smallest of numbers[:end] to its beginning, in any order (Hoare's quickselect)."""
    low, high = 0, end - 1
    while low < high:
        pivot = numbers[(low + high) >> 1]
        left, right = low, high
        while left <= right:
            while numbers[left] < pivot:
                left += 1
            while numbers[right] > pivot:
                right -= 1
            if left <= right:
                numbers[left], numbers[right] = numbers[right], numbers[left]
                left += 1
                right -= 1
        if wanted - 1 <= right:
            high = right
        elif wanted - 1 >= left:
            low = left
        else:
            return


@inlined
def ranked_code(value: Any, row: int) -> Any:
    """Return a number that is the smaller, the larger the float32 `value` is, and of equal values for smaller rows."""
    bits = np.int64(np.float32(value).view(np.int32))
    if bits < 0:
        bits ^= 0x7FFFFFFF
    return (-bits << 32) | row


@inlined
def value_of(code: Any) -> Any:
    """Return the value of `ranked_code`."""
    bits = -(code >> 32)
    if bits < 0:
        bits ^= 0x7FFFFFFF
    return np.int32(bits).view(np.float32)
