"""What a scenario and a request read of every item: columns that are made ahead of the requests that need them."""

from __future__ import annotations

from rerank.scenarios.compiled import NO_FILTER, Compiled, Filter
from rerank.scenarios.page import PRICE_BANDS
from rerank.scenarios.seasons import season_at
from rerank.scenarios.value import InSeason, reads_season
from retrieval.item_fields import ITEM_FIELDS, Ahead

_SUPPLIER = ITEM_FIELDS["supplier"]


def read_of_items(compiled: Compiled, now_ms: int, asked: Filter = NO_FILTER) -> tuple[Ahead, ...]:
    """Return what `compiled`, and a request's own filter, read of every item at a moment: campaigns come and go."""
    if compiled.is_plain:
        return asked.masks
    found: list[Ahead] = [*compiled.filter.masks, *asked.masks]
    if (of_items := compiled.boosts_at(now_ms).of_items) is not None:
        found.append(of_items)
    if reads_season(compiled):
        found.append(InSeason(season_at(now_ms)))
    fields = {limit.field for limit in compiled.limits}
    if "price_band" in fields:
        found.append(PRICE_BANDS)
    if "supplier" in fields or compiled.scenario.small_supplier_share:
        found.append(_SUPPLIER)
    return tuple(found)
