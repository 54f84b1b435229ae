"""What a kernel is declared with: its arguments, and the functions that it calls. Nothing of numba."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

DType = str | np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Argument:
    """A C-contiguous array of so many dimensions, or (`ndim` None) a number."""

    dtype: DType
    ndim: int | None = None
    writes: bool = False

    @property
    def is_array(self) -> bool:
        return self.ndim is not None

    def __str__(self) -> str:
        kind = np.dtype(self.dtype)
        return f"a {'writable ' if self.writes else ''}C-contiguous {kind} array of {self.ndim} dimensions"


@dataclass(frozen=True, slots=True)
class Inlined:
    """A function that kernels call, and what floating-point freedom it takes."""

    function: Callable[..., Any]
    fastmath: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Source:
    """A kernel as it is declared."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Argument, ...]
    fastmath: frozenset[str] = frozenset()
