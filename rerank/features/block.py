"""What a feature is, and what a block of features is: the declarations, and the function that computes them together.

A block computes its features in one array pass, because they share their inputs. It writes by name into its own rows:

    @block(Feature("item_stock", "log(1 + units in stock)", FROM_ZERO))
    def stock(out: Columns, inputs: Inputs) -> None:
        out["item_stock"] = np.log1p(inputs.catalogue.stock[inputs.candidates.rows])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rerank.features.inputs import Inputs

Float32s = NDArray[np.float32]
Range = tuple[float, float]
"""The smallest and the largest value, both included."""

SHARE: Final[Range] = (0.0, 1.0)
COSINE: Final[Range] = (-1.0, 1.0)
FROM_ZERO: Final[Range] = (0.0, inf)
UP_TO_ZERO: Final[Range] = (-inf, 0.0)
ANY: Final[Range] = (-inf, inf)


@dataclass(frozen=True, slots=True)
class Feature:
    """One number of a candidate.

    `meaning` is its formula in plain words, `range` what it can be, `nan` when it does not exist; an empty `nan` says
    that it always does.
    """

    name: str
    meaning: str
    range: Range
    nan: str = ""


class Columns:
    """A block's own rows of the feature array, written by name: `out["price"] = values`, (c,) or one value for all.

    `array` (k, c) float32 holds the same rows in the order of the declarations, for a function that takes only arrays.
    """

    __slots__ = ("_places", "array")

    def __init__(self, places: Mapping[str, int], array: Float32s) -> None:
        self._places = places
        self.array: Final = array

    def __setitem__(self, name: str, values: NDArray[Any] | float) -> None:
        try:
            self.array[self._places[name]] = values
        except KeyError:
            raise KeyError(f"expected a declared feature ({', '.join(self._places)}), got {name!r}") from None

    def __getitem__(self, name: str) -> Float32s:
        row: Float32s = self.array[self._places[name]]
        return row


@dataclass(frozen=True, slots=True)
class Block:
    """Features that one function computes, in the order of their columns.

    `compute` writes every declared feature of all c candidates, c > 0; it calls no other block.
    """

    name: str
    features: tuple[Feature, ...]
    compute: Callable[[Columns, Inputs], None]
    places: Mapping[str, int] = field(init=False)
    """Which row of the block each feature is."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", {feature.name: at for at, feature in enumerate(self.features)})

    @property
    def about(self) -> str:
        """What the block is about: the docstring of its function."""
        return inspect.getdoc(self.compute) or ""

    def write(self, rows: Float32s, inputs: Inputs) -> None:
        """Fill the block's rows (k, c)."""
        self.compute(Columns(self.places, rows), inputs)


def block(*features: Feature) -> Callable[[Callable[[Columns, Inputs], None]], Block]:
    """Make a block of the function below, which computes these features. The function's name is the block's."""

    def declare(compute: Callable[[Columns, Inputs], None]) -> Block:
        return Block(compute.__name__, features, compute)

    return declare
