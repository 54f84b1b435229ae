"""What an answer is computed from, as one value: catalogue, index, trends and ended sessions."""

from __future__ import annotations

from dataclasses import dataclass, field

from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns
from retrieval.session_columns import SessionColumns
from retrieval.supplier_exposure import SupplierExposure
from retrieval.trend_columns import TrendColumns


@dataclass(frozen=True, slots=True)
class ServingState:
    """The columns that somebody else keeps up to date. The value is frozen; its columns change in place, between two
    batches, so a holder never has to ask for it again.
    """

    catalogue: CatalogueColumns
    index: AnnIndex
    """The nearest items of the catalogue."""
    trends: TrendColumns = field(default_factory=TrendColumns)
    ended: SessionColumns = field(default_factory=SessionColumns)
    """The sessions that have ended; empty: none."""
    suppliers: SupplierExposure = field(default_factory=SupplierExposure)
    """How often each supplier's items were shown: follows catalogue and trends."""
