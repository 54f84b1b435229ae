"""What feature blocks compute from: one frozen record, with the numbers that several blocks share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.candidates import Candidates, Contexts
from retrieval.catalogue import CatalogueColumns
from retrieval.key_rows import Keys, Rows
from retrieval.serving_state import ServingState
from retrieval.session_columns import SessionColumns
from retrieval.trend_columns import TrendColumns

CLICKS: Final = 10
"""Newest window entries that features look at."""


@dataclass(frozen=True)
class Inputs:
    """b requests, their c candidates, and the serving columns.

    A shared number is computed when the first block asks for it, and once.
    """

    contexts: Contexts
    candidates: Candidates
    state: ServingState

    @property
    def catalogue(self) -> CatalogueColumns:
        """The items, by catalogue row."""
        return self.state.catalogue

    @property
    def trends(self) -> TrendColumns:
        """Counts of items, by `trend_rows`."""
        return self.state.trends

    @property
    def ended(self) -> SessionColumns:
        """The sessions that have ended, and what they held."""
        return self.state.ended

    @cached_property
    def keys(self) -> Keys:
        """(c,) ItemKeys of the candidates."""
        return self.catalogue.keys[self.candidates.rows]

    @cached_property
    def now_ms(self) -> NDArray[np.int64]:
        """(c,) the time of each candidate's request."""
        return self.contexts.now_ms.take(self.candidates.request)

    @cached_property
    def trend_rows(self) -> Rows:
        """(c,) rows of the candidates among the trends, -1 for none."""
        return self.trends.rows_of(self.keys)

    @cached_property
    def popularity(self) -> NDArray[np.float32]:
        """(c,) decayed clicks of the candidates."""
        return self.trends.popularity_at(self.trend_rows, self.now_ms)
