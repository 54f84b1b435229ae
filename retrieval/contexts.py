"""What a batch of requests knows of its visitors, as arrays."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from retrieval.key_rows import Keys, Rows
from retrieval.popular import Popular


class Against(msgspec.Struct, frozen=True):
    """h items of the catalogue that visitors turned down (`hide`, `dislike` and the like)."""

    request: NDArray[np.int32]
    """(h,) whose, ascending."""
    rows: Rows
    """(h,) catalogue rows."""
    strengths: NDArray[np.float32]
    """(h,) how far each pushes away, 0 to 1; 0 for what an earlier session of the user turned down."""


class Contexts(msgspec.Struct, frozen=True):
    """The visitors' windows and query vectors of b requests, as arrays. Columns of a window run from the newest click
    back, padded to the longest (at least 1).

    A window holds what showed interest alone (`contracts.events.INTEREST`), and nothing on items that were turned down:
    those stand in `against`. Codes are those of views, carts and purchases.

    A page's item that was not the last thing clicked stands first, as a view: whoever sees the page looks at it.
    """

    now_ms: NDArray[np.int64]
    """(b,)"""
    keys: Keys
    """(b, w) ItemKeys, 0 beyond `lengths`."""
    rows: Rows
    """(b, w) catalogue rows, -1 for an unknown item and beyond `lengths`."""
    codes: NDArray[np.uint8]
    """(b, w) EventCodes."""
    ts_ms: NDArray[np.int64]
    """(b, w)"""
    lengths: NDArray[np.int32]
    """(b,) entries in use, the page's item among them."""
    page_leads: NDArray[np.bool_]
    """(b,) whether entry 0 is the page's item and no click."""
    queries: NDArray[np.float32]
    """(b, d) unit vectors; zeros where there is none."""
    has_query: NDArray[np.bool_]
    """(b,)"""
    against: Against | None = None
    """What the visitors turned down; None: nobody did, or nothing that the catalogue has."""

    baskets: Keys | None = None
    """(b, n) ItemKeys whose company is asked for, 0 for none: what is in the cart, or the item of a product page. None:
    nobody asks."""

    own: Keys | None = None
    """(b, n) ItemKeys that each visitor looked at on earlier visits, best first, 0 for none; of those of whose visit
    nothing is known yet. None: nobody's.
    """

    popular: Sequence[Popular | None] | None = None
    """(b,) what is popular in the groups of visitors of whom nothing else is known. None: no request is such."""

    visitors: Keys | None = None
    """(b, 2) keys of the groups of each visitor's device and region, 0 for none. None: no feature reads them."""

    told: frozenset[int] = frozenset()
    """Requests whose vector is what the user said of their taste, and nothing that anybody clicked."""

    def __len__(self) -> int:
        return len(self.now_ms)

    @property
    def latest_ms(self) -> int:
        """The newest moment of the batch; 0 for none."""
        return max(self.now_ms.tolist(), default=0)
