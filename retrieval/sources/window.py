"""The items that the session itself clicked, where they may be shown again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from contracts.settings import Group
from retrieval.sources.source import NOTHING, Batch, Float32s, Mask, RankedEntries, Rung, Source, best_first


class Sizes(Group):
    window: int = Field(
        default=20,
        ge=0,
        le=50,
        description="Last clicks whose own items are candidates, where `leave_out_seen` lets them be shown again.",
    )


@dataclass(frozen=True, kw_only=True)
class Numbers:
    window_rank: Float32s
    """(c,) place of its newest click in the session's window, 0 the newest."""


def bring(batch: Batch, sizes: Sizes) -> RankedEntries:
    """Bring the items of the newest clicks, each at its newest."""
    catalogue, contexts = batch.state.catalogue, batch.contexts
    rows = contexts.rows[:, : sizes.window]  # (b, w)
    if not sizes.window or not catalogue.count:
        return NOTHING
    again = ((rows[:, :, None] == rows[:, None, :]) & np.tri(rows.shape[1], k=-1, dtype=np.bool_)).any(axis=2)
    asked = batch.shows_seen & ~batch.listed
    shown = np.where(again | ~asked[:, None], np.int32(-1), rows)
    return best_first(catalogue, np.arange(len(contexts), dtype=np.int32), shown)


def lay_out(found: RankedEntries, place: NDArray[np.intp], n: int) -> Numbers:
    return Numbers(window_rank=found.column(place, n))


def knows(numbers: Numbers) -> Mask:
    return numbers.window_rank >= 0


SOURCE = Source(
    name="window",
    brings="the session's own items, where the placement shows them again",
    settings=("window",),
    rung=Rung.TRENDING,
    numbers=Numbers,
    bring=bring,
    nothing=NOTHING,
    lay_out=lay_out,
    knows=knows,
)
