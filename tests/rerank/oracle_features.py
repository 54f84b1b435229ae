"""The feature blocks in plain numpy: what the compiled ones are held to."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.events import EventCode
from rerank.features import Columns, Inputs
from rerank.features.inputs import CLICKS
from retrieval.catalogue import NO_CODE
from retrieval.key_rows import Keys, Rows
from retrieval.trends import ClickOrigin

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]
COMPARED = 5
OLDEST_HOURS = 7 * 24.0


def share_of_best(values: Float32s, starts: NDArray[np.intp]) -> Float32s:
    """Return each value as a share of its request's largest, (c,); 0 where all are 0.

    `values` (c,) are grouped by request, c > 0; request i has those from `starts[i]` to `starts[i + 1]`.
    """
    sizes = np.diff(starts)
    some = sizes > 0  # reduceat takes no empty group
    best = np.repeat(np.maximum.reduceat(values, starts[:-1][some]), sizes[some])  # (c,)
    shares: Float32s = values / np.maximum(best, np.float32(1e-30))
    return shares


def newer_of_same(window: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which entries of windows (b, w), newest first, are newer than each and of the same item, (b, w, w)."""
    same: NDArray[np.bool_] = window[:, :, None] == window[:, None, :]
    return same & np.tri(window.shape[1], k=-1, dtype=np.bool_)


def entries(inputs: Inputs) -> Rows:
    """Return catalogue rows (b, w) of the newest `CLICKS` window entries, newest first, -1 for none."""
    return inputs.contexts.rows[:, :CLICKS]


def in_window(inputs: Inputs) -> Mask:
    """Return whether each window entry is the candidate, (w, c)."""
    candidates = inputs.candidates
    inside: Mask = entries(inputs).T.take(candidates.request, axis=1) == candidates.rows
    return inside


def similarity(out: Columns, inputs: Inputs) -> None:
    """How near the candidate's vector is to the session's query vector and to the items clicked last."""
    contexts, candidates, catalogue = inputs.contexts, inputs.candidates, inputs.catalogue
    out["nearest_rank"] = candidates.nearest_rank
    if not catalogue.vectors.shape[1]:
        for name in ("query_similarity", "last_similarity", "best_similarity", "mean_similarity"):
            out[name] = np.nan
        return
    recent = contexts.rows[:, :COMPARED]  # (b, r)
    _similarities(
        out,
        towards=np.concatenate([contexts.queries[:, None], catalogue.vectors[recent]], axis=1),
        has_query=contexts.has_query,
        has_recent=(recent >= 0) & catalogue.has_vector[recent],
        vectors=catalogue.vectors[candidates.rows],
        has_vector=catalogue.has_vector[candidates.rows],
        starts=candidates.starts,
        request=candidates.request,
    )


def _similarities(
    out: Columns,
    *,
    towards: Float32s,
    has_query: Mask,
    has_recent: Mask,
    vectors: Float32s,
    has_vector: Mask,
    starts: NDArray[np.intp],
    request: NDArray[np.int32],
) -> None:
    """Compare vectors (c, d) with those of their request: `towards` (b, 1 + r, d) is its query, then r items.

    `has_query` (b,), `has_recent` (b, r) and `has_vector` (c,) say which of these vectors exist.
    """
    cosines = np.empty((towards.shape[1], len(vectors)), np.float32)  # (1 + r, c)
    for at, (begin, end) in enumerate(pairwise(starts.tolist())):
        np.matmul(towards[at], vectors[begin:end].T, out=cosines[:, begin:end])
    usable = has_recent.T.take(request, axis=1) & has_vector  # (r, c)
    counts = usable.sum(axis=0)
    items = cosines[1:]  # (r, c)
    sums = np.where(usable, items, np.float32(0)).sum(axis=0)
    out["query_similarity"] = np.where(has_vector & has_query.take(request), cosines[0], np.nan)
    out["last_similarity"] = np.where(usable[0], items[0], np.nan)
    out["best_similarity"] = np.where(counts > 0, np.where(usable, items, np.float32(-2)).max(axis=0), np.nan)
    out["mean_similarity"] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def popularity(out: Columns, inputs: Inputs) -> None:
    """How much the candidate is clicked, whoever asks.

    Decayed clicks halve every 12 hours (`TREND__HALF_LIFE`), recent ones 48 times as fast (`TREND__RECENT_PACE`).
    """
    candidates, trends, rows = inputs.candidates, inputs.trends, inputs.trend_rows
    latest_ms = int(inputs.contexts.now_ms.max())
    top = trends.popularity_of(trends.trending(latest_ms, 1), latest_ms)
    top_recent = trends.recent_at(trends.rows_of(trends.recent(latest_ms, 1)), latest_ms)
    out["trending_rank"] = candidates.trending_rank
    out["recent_rank"] = candidates.recent_rank
    out["new_rank"] = candidates.new_rank
    out["ctr"] = trends.ctr_at(rows)
    _popularity(
        out,
        decayed=trends.popularity_at(rows, inputs.now_ms),
        recent=trends.recent_at(rows, inputs.now_ms),
        top=float(top.max(initial=0.0)),
        top_recent=float(top_recent.max(initial=0.0)),
        recent_pace=trends.rules.recent_pace,
    )


def _popularity(
    out: Columns, *, decayed: Float32s, recent: Float32s, top: float, top_recent: float, recent_pace: float
) -> None:
    """Compare decayed and recent clicks (c,) with the largest of any item, and with each other."""
    out["popularity"] = np.log1p(decayed)
    out["popularity_to_top"] = np.log((decayed + 0.1) / (top + 0.1))
    out["recent"] = np.log1p(recent)
    out["recent_to_top"] = np.log((recent + 0.1) / (top_recent + 0.1))
    out["momentum"] = np.log((recent + 0.1) / (decayed / recent_pace + 0.1))


def content(out: Columns, inputs: Inputs) -> None:
    """What the candidate is, and how much of the window is like it.

    An item without a category, or without a brand, shares it with no other item.
    """
    candidates, catalogue, window = inputs.candidates, inputs.catalogue, entries(inputs)
    rows, request, known = candidates.rows, candidates.request, window >= 0
    _prices(out, price=catalogue.price[rows], clicked=catalogue.price[window], known=known, request=request)
    clicks = np.maximum(known.sum(axis=1), 1).take(request)  # (c,)
    category = _same(catalogue.category, rows, window, known, request)  # (w, c)
    top_category = _same(catalogue.top_category, rows, window, known, request)
    brand = _same(catalogue.brand, rows, window, known, request)
    out["category_share"] = category.sum(axis=0) / clicks
    out["top_category_share"] = top_category.sum(axis=0) / clicks
    out["brand_share"] = brand.sum(axis=0) / clicks
    out["last_category"], out["last_brand"] = category[0], brand[0]


def _prices(out: Columns, *, price: Float32s, clicked: Float32s, known: Mask, request: NDArray[np.int32]) -> None:
    """Compare the candidates' prices (c,) with those that were `clicked` (b, w), where `known` (b, w)."""
    priced = known & (clicked > 0)
    mean = np.where(priced, clicked, 0.0).sum(axis=1) / np.maximum(priced.sum(axis=1), 1)  # (b,)
    usual = mean.take(request)  # (c,)
    both = (price > 0) & (usual > 0)
    out["price"] = np.where(price > 0, np.log1p(price), np.nan)
    out["price_to_session"] = np.where(both, np.log(np.where(both, price, 1.0) / np.where(both, usual, 1.0)), np.nan)


def _same(codes: Codes, rows: Rows, window: Rows, known: Mask, request: NDArray[np.int32]) -> Mask:
    """Return which window entries have the candidate's code, (w, c). NO_CODE is like nothing."""
    theirs = np.where(known, codes[window], np.int32(-1)).T  # (w, b)
    mine = codes[rows]
    same: Mask = (theirs.take(request, axis=1) == mine) & (mine != NO_CODE)
    return same


def window(out: Columns, inputs: Inputs) -> None:
    """The session's window, and the candidate's place in it."""
    contexts, candidates, catalogue, trends = inputs.contexts, inputs.candidates, inputs.catalogue, inputs.trends
    last, request = contexts.rows[:, 0], candidates.request  # (b,), (c,)
    _places(out, inside=in_window(inputs))
    _windows(
        out,
        keys=contexts.keys[:, :CLICKS],
        codes=contexts.codes[:, :CLICKS],
        ts_ms=contexts.ts_ms[:, :2],
        lengths=contexts.lengths,
        request=request,
    )
    _newest(
        out,
        known=last >= 0,
        age=_age(contexts.now_ms, catalogue.created_ms[last]),
        recent=trends.recent_at(trends.rows_of(catalogue.keys[last]), contexts.now_ms),
        request=request,
    )
    out["item_age"] = _age(inputs.now_ms, catalogue.created_ms[candidates.rows])


def _places(out: Columns, *, inside: Mask) -> None:
    """Count the candidate's window entries; `inside` (w, c) says which are its own."""
    times = inside.sum(axis=0)
    out["times_in_window"] = times
    out["place_in_window"] = np.where(times > 0, inside.argmax(axis=0), np.nan)


def _windows(
    out: Columns,
    *,
    keys: Keys,
    codes: NDArray[np.uint8],
    ts_ms: Int64s,
    lengths: NDArray[np.int32],
    request: NDArray[np.int32],
) -> None:
    """Describe windows of `lengths` (b,) by their newest entries: `keys` and `codes` (b, w), `ts_ms` (b, 2)."""
    newest = np.minimum(lengths, CLICKS)
    used = np.arange(keys.shape[1]) < newest[:, None]  # (b, w)
    repeats = (newer_of_same(keys).any(axis=2) & used).sum(axis=1)
    taken = (codes == EventCode.CART) | (codes == EventCode.PURCHASE)
    dwell = np.full(len(lengths), np.nan)
    if keys.shape[1] > 1:
        two = lengths > 1
        dwell_s = np.where(two, (ts_ms[:, 0] - ts_ms[:, 1]) / 1000.0, 0.0)
        dwell = np.where(two, np.log1p(np.maximum(dwell_s, 0.0)), np.nan)
    out["window_length"] = np.log1p(lengths).take(request)
    out["window_items"] = (newest - repeats).take(request)
    out["last_code"] = np.where(lengths > 0, codes[:, 0], np.nan).take(request)
    out["cart_share"] = ((taken & used).sum(axis=1) / np.maximum(newest, 1)).take(request)
    out["last_dwell"] = dwell.take(request)


def _newest(out: Columns, *, known: Mask, age: Float32s, recent: Float32s, request: NDArray[np.int32]) -> None:
    """Tell the age and the recent clicks (b,) of each request's newest item, where it is `known` (b,)."""
    out["last_age"] = np.where(known, age, np.nan).take(request)
    out["last_recent"] = np.where(known, np.log1p(recent), np.nan).take(request)


def _age(now_ms: Int64s, created_ms: Int64s) -> Float32s:
    """Return log(1 + age in hours)."""
    hours = (now_ms - created_ms) / 3_600_000.0
    return np.log1p(np.clip(hours, 0.0, OLDEST_HOURS)).astype(np.float32)


def returns(out: Columns, inputs: Inputs) -> None:
    """How the visitor goes back and forth within the newest ten window entries.

    `last_times`, `last_place` and `returns` describe the request alone.
    """
    candidates, contexts = inputs.candidates, inputs.contexts
    _returns(
        out,
        window=entries(inputs),
        inside=in_window(inputs),
        lengths=contexts.lengths,
        request=candidates.request,
    )


def _returns(
    out: Columns, *, window: Rows, inside: Mask, lengths: NDArray[np.int32], request: NDArray[np.int32]
) -> None:
    """Write the features of windows (b, w), newest first, in which the candidates stand at `inside` (w, c)."""
    clicks = window.shape[1]
    newer = newer_of_same(window)  # (b, w, w)
    known = window >= 0
    first = ~newer.any(axis=2) & known  # (b, w) the newest entry of an item
    again = (window[:, 1:] == window[:, :1]) & known[:, :1]  # (b, w - 1) entries from 1 on that are the newest item
    on_newest = again.T.take(request, axis=1)  # (w - 1, c)
    any_click = inside.any(axis=0)
    place = inside.argmax(axis=0)
    oldest = clicks - 1 - inside[::-1].argmax(axis=0)
    since: NDArray[np.int64] = np.cumsum(first, axis=1) - first  # (b, w) distinct items newer than each entry
    older = inside & (np.arange(clicks)[:, None] > place)
    out["followed_last"] = (on_newest & inside[:-1]).sum(axis=0)
    out["preceded_last"] = (on_newest[:-1] & inside[2:]).sum(axis=0)
    out["oldest_place"] = np.where(any_click, oldest, np.nan)
    out["items_since"] = np.where(any_click, since[request, place], np.nan)
    out["first_seen"] = any_click & (oldest == np.minimum(lengths, clicks).take(request) - 1)
    out["own_gap"] = np.where(older.any(axis=0), older.argmax(axis=0) - place, np.nan)
    newest_place = again.argmax(axis=1) + 1 if clicks > 1 else 0
    out["last_times"] = again.sum(axis=1).take(request)
    out["last_place"] = np.where(again.any(axis=1), newest_place, np.nan).take(request)
    came_before = newer.any(axis=1) & known  # (b, w) whether an older entry is the same item
    out["returns"] = came_before[:, :4].sum(axis=1).take(request)


def click_origins(out: Columns, inputs: Inputs) -> None:
    """How often sessions come to the candidate from another item, return to it, or click it again.

    The mean keeps `went_on_to_mean` from growing with the age of the counts. The added clicks make shares of few clicks
    say little.
    """
    counts = inputs.trends.origin_counts_at(inputs.trend_rows).T  # (4, c)
    _click_origins(
        out,
        clicks=counts.sum(axis=0),
        moved=counts[ClickOrigin.FORWARD] + counts[ClickOrigin.RETURN],
        returned=counts[ClickOrigin.RETURN],
        repeated=counts[ClickOrigin.REPEAT],
        mean_moved=inputs.trends.transitions_per_item,
    )


def _click_origins(
    out: Columns, *, clicks: Float32s, moved: Float32s, returned: Float32s, repeated: Float32s, mean_moved: float
) -> None:
    """Turn counts (c,) into logs of smoothed shares. `moved` are forward and return clicks."""
    out["went_on_to_mean"] = np.log((moved + 1.0) / (mean_moved + 1.0))
    out["went_on_share"] = np.log((moved + 1.0) / (clicks + 1.5))
    out["came_back_share"] = np.log((returned + 0.3) / (moved + 3.0))
    out["again_share"] = np.log((repeated + 0.3) / (clicks + 3.0))


ORACLES = {one.__name__: one for one in (similarity, popularity, content, window, returns, click_origins)}
