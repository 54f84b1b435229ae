"""What feature blocks compute from: one frozen record, with the numbers that several blocks share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compiled.decay import cooled
from compiled.kernels import kernel, reads, writes
from compiled.lookups import row_of
from rerank.calendar import Calendar, Places
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
    calendar: Calendar | None = None
    """The ranker's own; None for one without."""

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

    @property
    def keys(self) -> Keys:
        """(c,) ItemKeys of the candidates."""
        return self._looked_up[0]

    @cached_property
    def now_ms(self) -> NDArray[np.int64]:
        """(c,) the time of each candidate's request."""
        return self.contexts.now_ms.take(self.candidates.request)

    @cached_property
    def in_calendar(self) -> tuple[Calendar, Places]:
        """The ranker's calendar, and where the candidates stand in it. Raises ValueError where it has none."""
        if self.calendar is None:
            raise ValueError("expected a calendar, got none: pass the parts of the ranker that asks")
        codes, which = np.unique(self.catalogue.category[self.candidates.rows], return_inverse=True)
        words = self.catalogue.fields.categories(self.catalogue)
        return self.calendar, self.calendar.places_of(self.keys, [words[code] for code in codes.tolist()], which)

    @property
    def trend_rows(self) -> Rows:
        """(c,) rows of the candidates among the trends, -1 for none."""
        return self._looked_up[1]

    @property
    def popularity(self) -> NDArray[np.float32]:
        """(c,) decayed clicks of the candidates."""
        return self._looked_up[2]

    @property
    def recent(self) -> NDArray[np.float32]:
        """(c,) recent clicks of the candidates."""
        return self._looked_up[3]

    @cached_property
    def _looked_up(self) -> tuple[Keys, Rows, NDArray[np.float32], NDArray[np.float32]]:
        """What is found by the candidates' rows, at once: one call costs as much as all of its lookups."""
        candidates, trends, rules, c = self.candidates, self.trends, self.trends.rules, len(self.candidates)
        keys, rows = np.empty(c, np.uint64), np.empty(c, np.int32)
        popularity, recent = np.empty(c, np.float32), np.empty(c, np.float32)
        _look_up(
            candidates.rows,
            candidates.request,
            self.contexts.now_ms,
            self.catalogue.keys,
            *trends.slots,
            trends.heat,
            trends.recent_heat,
            rules.half_life_ms,
            rules.recent_half_life_ms,
            keys,
            rows,
            popularity,
            recent,
        )
        return keys, rows, popularity, recent


@kernel(
    *(reads("i4"), reads("i4"), reads("i8"), reads("u8"), reads("u8"), reads("i4"), reads("f8"), reads("f8")),
    *("f8", "f8", writes("u8"), writes("i4"), writes("f4"), writes("f4")),
)
def _look_up(
    rows: Rows,
    request: Rows,
    now_ms: NDArray[np.int64],
    item_keys: Keys,
    slot_keys: Keys,
    slot_rows: Rows,
    heat: NDArray[np.float64],
    recent_heat: NDArray[np.float64],
    half_life_ms: float,
    recent_half_life_ms: float,
    keys: Keys,
    trend_rows: Rows,
    popularity: NDArray[np.float32],
    recent: NDArray[np.float32],
) -> None:
    for at in range(rows.shape[0]):
        keys[at] = item_keys[rows[at]]
        row = row_of(slot_keys, slot_rows, keys[at])
        trend_rows[at], popularity[at], recent[at] = row, 0, 0
        if row >= 0:
            moment = now_ms[request[at]]
            popularity[at] = cooled(heat[row], moment, half_life_ms)
            recent[at] = cooled(recent_heat[row], moment, recent_half_life_ms)
