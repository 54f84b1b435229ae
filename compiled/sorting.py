"""Sorting inside kernels: small, quick to compile, and in place."""

from __future__ import annotations

from typing import Any

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
