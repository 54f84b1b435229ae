"""What a visitor said against items: which are not shown again, and how the answer is pushed away from them.

Read of a session's window; what a user said in earlier sessions is not shown either, but pushes nothing away. A later
`unhide`, `like`, cart or purchase of an item takes back what was said before against it; a view does not. Clicks on an
item that was turned down in the session no longer count: they leave the window that candidates, features and reasons
read, and the session's vector is made without them. What is like a turned-down item comes later, and fills a page that
nothing else can fill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads
from contracts.events import AGAINST, INTEREST, EventCode
from contracts.sessions import CLICK, Clicks
from retrieval.catalogue import NO_CODE, CatalogueColumns
from retrieval.contexts import Against, Contexts
from retrieval.key_rows import Rows

if TYPE_CHECKING:
    from retrieval.candidates import Candidates

Float32s = NDArray[np.float32]

_NO_KEYS: Final = np.zeros(0, np.uint64)
STRENGTHS: Final = {EventCode.HIDE: 1.0, EventCode.DISLIKE: 1.0, EventCode.RETURN: 0.5}
"""How far an event pushes away: 1 takes an item's whole share out of the session's vector. Something that was sent back
was wanted once: items like it lose half as much."""
_TAKES_BACK: Final = frozenset((EventCode.UNHIDE, EventCode.LIKE, EventCode.CART, EventCode.PURCHASE))
_PLAIN_UP_TO: Final = int(EventCode.PURCHASE)
_ALIKE_FROM: Final = 0.35
"""Cosine from which an item is like another, as reasons say it."""
_SAME_CATEGORY: Final = 0.5
"""What being of its category weighs, beside being the very same (1)."""
_WANTED_CATEGORY: Final = 0.2
"""The same, where the visitor showed interest in other items of that category."""

_READ_AS: Final = np.zeros(256, np.uint8)
"""By EventCode, what the ranker's features read it as: the codes that it was trained with."""
_SAYS: Final = np.zeros(256, np.int8)
"""By EventCode: 1 turns its item down, -1 takes that back, 0 says neither."""
_SAYS[list(AGAINST)] = 1
_SAYS[list(_TAKES_BACK)] = -1
for _code in INTEREST:
    _READ_AS[_code] = _code if _code <= _PLAIN_UP_TO else EventCode.VIEW


@kernel(reads(CLICK))
def has_feedback(clicks: Clicks) -> bool:
    """Say whether any click (n,) is something else than a view, a cart or a purchase."""
    for at in range(len(clicks)):
        code = clicks[at]["code"]
        if code == 0 or code > _PLAIN_UP_TO:
            return True
    return False


def parted(window: Clicks) -> tuple[Clicks, dict[int, float]]:
    """Return a window's clicks that show interest, as the ranker reads them, without those on items that were turned
    down; and these items by ItemKey, each with how far it pushes away.
    """
    against: dict[int, float] = {}
    for item, code in zip(window["item"].tolist(), window["code"].tolist(), strict=True):
        if code in AGAINST:
            against[item] = max(against.get(item, 0.0), STRENGTHS[EventCode(code)])
        elif code in _TAKES_BACK:
            against.pop(item, None)
    read_as = _READ_AS[window["code"]]
    kept = (read_as != 0) & ~np.isin(window["item"], np.fromiter(against, np.uint64, len(against)))
    wanted: Clicks = window[kept].copy()
    wanted["code"] = read_as[kept]
    return wanted, against


def wanted_in(window: Clicks) -> Clicks:
    """Return a window's clicks that show interest in items that were not turned down."""
    return parted(window)[0] if has_feedback(window) else window


def turned_down_before(history: Clicks, window: Clicks) -> NDArray[np.uint64]:
    """Return what a user's clicks of all sessions (n,) hold as turned down and a session's window (w,) did not take
    back since: ItemKeys (k,), ascending. Clicks may be in both.
    """
    if not (_SAYS[history["code"]] > 0).any():
        return _NO_KEYS
    both = np.concatenate([history, window])
    both = both[_SAYS[both["code"]] != 0]
    newest_first = both[np.lexsort((both["event"], both["ts_ms"]))[::-1]]
    items, at = np.unique(newest_first["item"], return_index=True)
    found: NDArray[np.uint64] = items[_SAYS[newest_first["code"][at]] > 0]
    return found


def bought_in(history: Clicks) -> NDArray[np.uint64]:
    """Return what was bought in a user's clicks (n,): ItemKeys (k,), ascending."""
    bought: NDArray[np.uint64] = np.unique(history["item"][history["code"] == EventCode.PURCHASE])
    return bought


def against_of(said: list[dict[int, float]], pages: NDArray[np.uint64], catalogue: CatalogueColumns) -> Against | None:
    """Return what b visitors said against items that the catalogue has; None where there is nothing.

    A strength of 0 only keeps its item away. The page's item (b,), which the visitor looks at now, is not shown either,
    but nothing is pushed away from it.
    """
    request = np.repeat(np.arange(len(said), dtype=np.int32), [len(one) for one in said])
    keys = np.fromiter((key for one in said for key in one), np.uint64, len(request))
    strengths = np.fromiter((strength for one in said for strength in one.values()), np.float32, len(request))
    rows = catalogue.rows_of(keys) if len(keys) else np.zeros(0, np.int32)
    strengths[keys == pages[request]] = 0
    known = rows >= 0
    return Against(request[known], rows[known], strengths[known]) if known.any() else None


def pushed_away(queries: Float32s, against: Against, catalogue: CatalogueColumns) -> Float32s:
    """Return unit query vectors (b, d) without what they share with the items that were turned down.

    Of each such item's direction the positive share is taken off, times its strength, the one said first first.
    """
    pushed = queries.copy()
    for request, row, strength in zip(
        against.request.tolist(), against.rows.tolist(), against.strengths.tolist(), strict=True
    ):
        if strength and catalogue.has_vector[row]:
            vector = catalogue.vectors[row]
            shared = max(0.0, float(pushed[request] @ vector))
            pushed[request] -= np.float32(strength * shared) * vector
    lengths = np.linalg.norm(pushed, axis=1, keepdims=True)
    return np.where(lengths > 1e-6, pushed / np.maximum(lengths, np.float32(1e-6)), np.float32(0)).astype(np.float32)


def penalised(scores: Float32s, candidates: Candidates, contexts: Contexts, catalogue: CatalogueColumns) -> Float32s:
    """Return scores (c,) in which candidates like an item that was turned down lose, up to the whole spread of their
    request's scores: by the cosine to it, from 0.35 on, and by being of its category, less where the visitor wants
    that category.
    """
    against = contexts.against
    if against is None or not len(candidates):
        return scores
    scores = scores.copy()
    for request in np.unique(against.request[against.strengths > 0]).tolist():
        mine = slice(int(candidates.starts[request]), int(candidates.starts[request + 1]))
        rows, own = candidates.rows[mine], scores[mine]
        if not len(rows):
            continue
        lost = _lost(rows, request, contexts, against, catalogue)
        finite = own[np.isfinite(own)]
        spread = float(finite.max() - finite.min()) if len(finite) else 0.0
        scores[mine] = own - lost * np.float32(spread or 1.0)
    return scores


def turns_down(request: int, contexts: Contexts) -> bool:
    """Say whether a visitor turned something down in this session that the answer is pushed away from."""
    against = contexts.against
    return against is not None and bool((against.strengths[against.request == request] > 0).any())


def alike_last(rows: Rows, request: int, contexts: Contexts, catalogue: CatalogueColumns) -> Rows:
    """Return rows (n,) that fill a request's page, those most like what its visitor turned down last."""
    against = contexts.against
    if against is None or not len(rows) or not turns_down(request, contexts):
        return rows
    return rows[np.argsort(_lost(rows, request, contexts, against, catalogue), kind="stable")]


def _lost(rows: Rows, request: int, contexts: Contexts, against: Against, catalogue: CatalogueColumns) -> Float32s:
    """Return how much of their score rows (n,) lose for being like what one visitor turned down, 0 to 1."""
    turned_down = (against.strengths > 0) & (against.request == request)
    others, strengths = against.rows[turned_down], against.strengths[turned_down]
    window = contexts.rows[request]
    wanted = np.isin(catalogue.category[others], catalogue.category[window[window >= 0]])
    of_category = np.where(wanted, _WANTED_CATEGORY, _SAME_CATEGORY).astype(np.float32)
    return _likeness(rows, others, strengths, of_category, catalogue)


def _likeness(
    rows: NDArray[np.int32],
    others: NDArray[np.int32],
    strengths: Float32s,
    of_category: Float32s,
    catalogue: CatalogueColumns,
) -> Float32s:
    """Return how much each of rows (n,) is like those turned down (h,), 0 to 1; being of its category weighs
    `of_category` (h,)."""
    alike = np.zeros((len(rows), len(others)), np.float32)  # (n, h)
    if catalogue.vectors.shape[1]:
        both = catalogue.has_vector[rows][:, None] & catalogue.has_vector[others]
        cosine = catalogue.vectors[rows] @ catalogue.vectors[others].T  # (n, h)
        alike = np.where(both, np.maximum(cosine - np.float32(_ALIKE_FROM), 0) / np.float32(1 - _ALIKE_FROM), alike)
    category = catalogue.category[others]
    same = (catalogue.category[rows][:, None] == category) & (category != NO_CODE)
    lost = np.minimum(alike + of_category * same, 1) * strengths
    return np.asarray(lost.max(axis=1), np.float32)
