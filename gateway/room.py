"""Whether the catalogue has room for items: asked before they are put into the log, where the flow would refuse them.

What waits in the log is not seen: the items flow has the last word, and keeps what it refuses as a dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from time import monotonic

import numpy as np
from aiohttp import web

from contracts.errors import StateUnavailable
from contracts.ids import item_key
from gateway.keys import CATALOGUE, SETTINGS
from gateway.problems import Refused
from gateway.sharded_replica import Followed
from gateway.tables import CATALOGUE as TABLE
from gateway.tables import REPLICAS

_LOOK_EVERY_S = 1.0


class Extent:
    """How much the catalogue holds in Redis, asked at most once a second."""

    def __init__(self) -> None:
        self._seen, self._looked_at = (0, 0), -_LOOK_EVERY_S

    async def of(self, catalogue: Followed) -> tuple[int, int]:
        """Return items and bytes. Raises StateUnavailable."""
        if monotonic() - self._looked_at >= _LOOK_EVERY_S:
            self._seen, self._looked_at = await catalogue.extent(), monotonic()
        return self._seen


EXTENT = web.AppKey("catalogue_extent", Extent)


async def expect_room(request: web.Request, item_ids: Sequence[str]) -> None:
    """Refuse (507) items for which the catalogue has no room, where Redis says how much it holds."""
    bounds = request.app[SETTINGS].catalogue
    try:
        items, size = await request.app[EXTENT].of(request.app[REPLICAS][TABLE.name])
    except StateUnavailable:
        return
    if size >= bounds.max_bytes:
        raise _full(f"{size} bytes of items", "catalogue.max_bytes", bounds.max_bytes)
    if items + len(item_ids) <= bounds.max_items:
        return
    columns = request.app[CATALOGUE]
    rows = columns.rows_of(np.array([item_key(item_id) for item_id in item_ids], np.uint64))
    new = int(np.count_nonzero((rows < 0) | ~columns.alive[np.maximum(rows, 0)])) if columns.count else len(item_ids)
    if new and items + new > bounds.max_items:
        raise _full(f"{items} items", "catalogue.max_items", bounds.max_items)


def _full(holds: str, setting: str, most: int) -> Refused:
    return Refused(
        HTTPStatus.INSUFFICIENT_STORAGE,
        f"the catalogue holds {holds}, {setting} allows {most}: delete items that are no longer sold, or raise it",
    )
