"""The re-ranker's features: the only code that computes them, for training and for serving.

A change of meaning without a change of name must raise `MEANING`, so that a ranker trained on the old one is refused.
NaN says that a number does not exist (not a candidate of that source, no price, no vector): trees take it as it is.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from contracts.events import EventCode
from retrieval.candidates import Candidates, Contexts
from retrieval.catalogue import NO_CODE, CatalogueColumns
from retrieval.key_rows import Rows
from retrieval.session_columns import SessionColumns
from retrieval.trend_columns import TrendColumns
from retrieval.trends import Came

Float32s = NDArray[np.float32]

CLICKS: Final = 10
"""Newest window entries that the features look at."""
_COMPARED: Final = 5
"""Newest window entries whose vectors are compared with the candidate's."""
_OLDEST_HOURS: Final = 7 * 24.0
"""Items older than this are of one age: a recorded log does not know when they came."""
_ASKED_CLICKS: Final = 10
"""Newest distinct items of the window whose ended sessions vote."""
_ASKED_SESSIONS: Final = 500
"""Newest sessions of each of them that vote."""

FEATURES: Final = (
    "query_similarity",
    "nearest_rank",
    "last_similarity",
    "best_similarity",
    "mean_similarity",
    "covisit_last",
    "covisit_last_rank",
    "covisit",
    "covisit_count",
    "covisit_to_best",
    "after_last",
    "after",
    "together_last",
    "together_last_rank",
    "together",
    "together_to_best",
    "trending_rank",
    "recent_rank",
    "new_rank",
    "popularity",
    "popularity_to_top",
    "recent",
    "recent_to_top",
    "momentum",
    "ctr",
    "price",
    "price_to_session",
    "category_share",
    "top_category_share",
    "brand_share",
    "last_category",
    "last_brand",
    "times_in_window",
    "place_in_window",
    "item_age",
    "window_length",
    "window_items",
    "last_code",
    "cart_share",
    "last_dwell",
    "last_age",
    "last_recent",
    "followed_last",
    "preceded_last",
    "oldest_place",
    "items_since",
    "first_seen",
    "own_gap",
    "last_times",
    "last_place",
    "returns",
    "covisit_second",
    "covisit_cosine_last",
    "covisit_cosine",
    "votes",
    "votes_to_best",
    "sessions_cosine_last",
    "sessions_cosine",
    "sessions_next",
    "sessions_before",
    "sessions_next_alike",
    "sessions_next_exactly",
    "sessions_later_alike",
    "went_on_to_mean",
    "went_on_share",
    "came_back_share",
    "again_share",
)
MEANING: Final = 2
SCHEMA_HASH: Final = xxhash.xxh3_64_hexdigest("\n".join((str(MEANING), *FEATURES)).encode())
"""Names the features, their order and their meaning: 16 hex digits, in every ranker's manifest."""


def compute(
    contexts: Contexts,
    candidates: Candidates,
    catalogue: CatalogueColumns,
    trends: TrendColumns,
    ended: SessionColumns,
) -> Float32s:
    """Return the features of every candidate, (c, len(FEATURES)) float32, columns in the order of FEATURES."""
    columns = np.empty((len(FEATURES), len(candidates)), np.float32)
    if len(candidates):
        with np.errstate(invalid="ignore"):
            _similarities(columns[0:5], contexts, candidates, catalogue)
            _sources(columns[5:19], candidates)
            rows = trends.rows_of(catalogue.keys[candidates.rows])
            popularity = _trends(columns[19:25], contexts, candidates, rows, trends)
            _content(columns[25:32], contexts, candidates, catalogue)
            _sessions(columns[32:42], contexts, candidates, catalogue, trends)
            _returns(columns[42:51], contexts, candidates)
            _cosines(columns[51:54], candidates, popularity)
            _votes(columns[54:63], contexts, candidates, catalogue, ended)
            _comings(columns[63:67], rows, trends)
    return columns.T


def _similarities(out: Float32s, contexts: Contexts, candidates: Candidates, catalogue: CatalogueColumns) -> None:
    """query_similarity, nearest_rank, last_, best_ and mean_similarity."""
    out[1] = candidates.nearest_rank
    out[[0, 2, 3, 4]] = np.nan
    if not catalogue.vectors.shape[1]:
        return
    vectors = catalogue.vectors[candidates.rows]  # (c, d)
    recent = contexts.rows[:, :_COMPARED]  # (b, r)
    compared = (recent >= 0) & catalogue.has_vector[recent]  # (b, r)
    towards = np.concatenate([contexts.queries[:, None], catalogue.vectors[recent]], axis=1)  # (b, 1 + r, d)
    similarity = np.empty((towards.shape[1], len(candidates)), np.float32)  # (1 + r, c)
    for at, (begin, end) in enumerate(pairwise(candidates.starts.tolist())):
        np.matmul(towards[at], vectors[begin:end].T, out=similarity[:, begin:end])
    has_vector = catalogue.has_vector[candidates.rows]
    usable = compared.T[:, candidates.request] & has_vector  # (r, c)
    counts = usable.sum(axis=0)
    items = similarity[1:]  # (r, c)
    out[0] = np.where(has_vector & contexts.has_query[candidates.request], similarity[0], np.nan)
    out[2] = np.where(usable[0], items[0], np.nan)
    out[3] = np.where(counts > 0, np.where(usable, items, np.float32(-2)).max(axis=0), np.nan)
    out[4] = np.where(counts > 0, np.where(usable, items, np.float32(0)).sum(axis=0) / np.maximum(counts, 1), np.nan)


def _sources(out: Float32s, candidates: Candidates) -> None:
    """covisit_last to together_to_best, trending_rank, recent_rank, new_rank."""
    out[0] = candidates.covisit_last
    out[1] = candidates.covisit_last_rank
    out[2] = candidates.covisit
    out[3] = candidates.covisit_count
    out[4] = _to_best(candidates.covisit, candidates)
    out[5] = candidates.after_last
    out[6] = candidates.after
    out[7] = candidates.together_last
    out[8] = candidates.together_last_rank
    out[9] = candidates.together
    out[10] = _to_best(candidates.together, candidates)
    out[11] = candidates.trending_rank
    out[12] = candidates.recent_rank
    out[13] = candidates.new_rank


def _to_best(values: Float32s, candidates: Candidates) -> Float32s:
    """Return each value as a share of its request's largest, (c,); 0 where all are 0."""
    begins = candidates.starts[:-1][np.diff(candidates.starts) > 0]
    best = np.repeat(np.maximum.reduceat(values, begins), np.diff([*begins.tolist(), len(values)]))  # (c,)
    shares: Float32s = values / np.maximum(best, np.float32(1e-30))
    return shares


def _trends(out: Float32s, contexts: Contexts, candidates: Candidates, rows: Rows, trends: TrendColumns) -> Float32s:
    """popularity (log of decayed clicks), popularity_to_top (log ratio to the most popular item), the same two of
    recent clicks, momentum (log ratio of recent clicks to what popularity would have them be), ctr. Returns the
    decayed clicks themselves, (c,). `rows` (c,) are those of the candidates among the trends.
    """
    now_ms = contexts.now_ms[candidates.request]
    popularity, recent = trends.popularity_at(rows, now_ms), trends.recent_at(rows, now_ms)
    latest_ms = int(contexts.now_ms.max())
    top = trends.popularity_of(trends.trending(latest_ms, 1), latest_ms)
    top_recent = trends.recent_at(trends.rows_of(trends.recent(latest_ms, 1)), latest_ms)
    out[0] = np.log1p(popularity)
    out[1] = np.log((popularity + 0.1) / (float(top.max(initial=0.0)) + 0.1))
    out[2] = np.log1p(recent)
    out[3] = np.log((recent + 0.1) / (float(top_recent.max(initial=0.0)) + 0.1))
    out[4] = np.log((recent + 0.1) / (popularity / trends.rules.recent_pace + 0.1))
    out[5] = trends.ctr_at(rows)
    return popularity


def _cosines(out: Float32s, candidates: Candidates, popularity: Float32s) -> None:
    """covisit_second; covisit_cosine_last and covisit_cosine: pairs over the root of how often either item is clicked,
    so that what goes with everything is near to nothing (Sarwar et al., WWW 2001).
    """
    out[0] = candidates.covisit_second
    often = np.sqrt(popularity + np.float32(1))
    out[1] = candidates.paired_last / often
    out[2] = candidates.paired / often


def _votes(
    out: Float32s, contexts: Contexts, candidates: Candidates, catalogue: CatalogueColumns, ended: SessionColumns
) -> None:
    """votes, votes_to_best, sessions_cosine_last, sessions_cosine, sessions_next to sessions_later_alike: see
    `retrieval.session_columns.Votes`.
    """
    keys = catalogue.keys[candidates.rows]
    found = ended.votes(contexts.keys, keys, candidates.starts, clicks=_ASKED_CLICKS, newest=_ASKED_SESSIONS)
    out[0] = found.votes
    out[1] = _to_best(found.votes, candidates)
    out[2] = found.cosine_last
    out[3] = found.cosine
    out[4], out[5] = found.next, found.before
    out[6], out[7], out[8] = found.next_alike, found.next_exactly, found.later_alike


def _comings(out: Float32s, rows: Rows, trends: TrendColumns) -> None:
    """How an item's clicks come about, since it is counted: went_on_to_mean (log ratio of the clicks that went on to it
    from another item to what an item has on average, so that it does not grow with the age of the counts), and as logs
    of smoothed shares went_on_share (of its clicks), came_back_share (of those that went on, clicks back to it) and
    again_share (of its clicks, those right after another one on it). Smoothed: as if an item had one and a half clicks
    more, one of which went on, and three more, a tenth of which came back or again, so that few clicks say little.
    """
    came = trends.came_at(rows).T  # (4, c)
    clicks, went_on = came.sum(axis=0), came[Came.ON] + came[Came.BACK]
    out[0] = np.log((went_on + 1.0) / (trends.went_on + 1.0))
    out[1] = np.log((went_on + 1.0) / (clicks + 1.5))
    out[2] = np.log((came[Came.BACK] + 0.3) / (went_on + 3.0))
    out[3] = np.log((came[Came.AGAIN] + 0.3) / (clicks + 3.0))


def _content(out: Float32s, contexts: Contexts, candidates: Candidates, catalogue: CatalogueColumns) -> None:
    """price, price_to_session, category_share, top_category_share, brand_share, last_category, last_brand."""
    rows, request = candidates.rows, candidates.request
    window = contexts.rows[:, :CLICKS]  # (b, w)
    known = window >= 0
    price = catalogue.price[rows]
    priced = known & (catalogue.price[window] > 0)
    paid = np.where(priced, catalogue.price[window], 0.0).sum(axis=1) / np.maximum(priced.sum(axis=1), 1)  # (b,)
    out[0] = np.where(price > 0, np.log1p(price), np.nan)
    usual = paid[request]
    both = (price > 0) & (usual > 0)
    out[1] = np.where(both, np.log(np.where(both, price, 1.0) / np.where(both, usual, 1.0)), np.nan)
    clicks = np.maximum(known.sum(axis=1), 1)[request]
    for at, codes in ((2, catalogue.category), (3, catalogue.top_category), (4, catalogue.brand)):
        same = _same(codes, rows, window, known, request)  # (w, c)
        out[at] = same.sum(axis=0) / clicks
        if at != 3:
            out[5 if at == 2 else 6] = same[0]


def _same(
    codes: NDArray[np.int32], rows: Rows, window: Rows, known: NDArray[np.bool_], request: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Return which window entries share the candidate's code, (w, c). NO_CODE is like nothing."""
    theirs = np.where(known, codes[window], np.int32(-1)).T  # (w, b)
    mine = codes[rows]
    same: NDArray[np.bool_] = (theirs[:, request] == mine) & (mine != NO_CODE)
    return same


def _sessions(
    out: Float32s, contexts: Contexts, candidates: Candidates, catalogue: CatalogueColumns, trends: TrendColumns
) -> None:
    """times_in_window, place_in_window, item_age, window_length, window_items, last_code, cart_share, last_dwell,
    last_age, last_recent.
    """
    request, rows = candidates.request, candidates.rows
    window = contexts.rows[:, :CLICKS]  # (b, w)
    inside = window.T[:, request] == rows  # (w, c)
    times = inside.sum(axis=0)
    out[0] = times
    out[1] = np.where(times > 0, inside.argmax(axis=0), np.nan)
    out[2] = _age(contexts.now_ms[request], catalogue.created_ms[rows])
    out[3:8] = _by_request(contexts)[:, request]
    last = contexts.rows[:, 0]  # (b,)
    known = last >= 0
    out[8] = np.where(known, _age(contexts.now_ms, catalogue.created_ms[last]), np.nan)[request]
    recent = trends.recent_at(trends.rows_of(catalogue.keys[last]), contexts.now_ms)
    out[9] = np.where(known, np.log1p(recent), np.nan)[request]


def _returns(out: Float32s, contexts: Contexts, candidates: Candidates) -> None:
    """How a visitor goes back and forth. Of the candidate: followed_last and preceded_last (how often it came right
    after, and right before, an earlier click on the newest item), oldest_place, items_since (other items clicked since
    its newest click), first_seen (whether the window begins with it), own_gap (clicks between its newest two). Of the
    request: last_times and last_place of earlier clicks on the newest item, returns (how many of the newest four clicks
    are on items clicked before).
    """
    request = candidates.request
    window = contexts.rows[:, :CLICKS]  # (b, w)
    clicks = window.shape[1]
    newer = _newer_of_the_same(window)  # (b, w, w)
    before = newer.any(axis=1)  # (b, w) whether an older entry is of the same item
    newest = ~newer.any(axis=2)  # (b, w) whether no newer entry is
    known = window >= 0
    inside = window.T[:, request] == candidates.rows  # (w, c)
    again = (window[:, 1:] == window[:, :1]) & known[:, :1]  # (b, w - 1) entries 1 on that are of the newest item
    turned = again.T[:, request]  # (w - 1, c)
    out[0] = (turned & inside[:-1]).sum(axis=0)
    out[1] = (turned[:-1] & inside[2:]).sum(axis=0)
    any_click = inside.any(axis=0)
    place = inside.argmax(axis=0)
    oldest = clicks - 1 - inside[::-1].argmax(axis=0)
    since: NDArray[np.int64] = np.cumsum(newest & known, axis=1) - (
        newest & known
    )  # (b, w) distinct items newer than each entry
    later = inside & (np.arange(clicks)[:, None] > place)
    out[2] = np.where(any_click, oldest, np.nan)
    out[3] = np.where(any_click, since[request, place], np.nan)
    out[4] = any_click & (oldest == np.minimum(contexts.lengths, clicks)[request] - 1)
    out[5] = np.where(later.any(axis=0), later.argmax(axis=0) - place, np.nan)
    earlier = again.any(axis=1)
    out[6] = again.sum(axis=1)[request]
    out[7] = np.where(earlier, again.argmax(axis=1) + 1 if clicks > 1 else 0, np.nan)[request]
    out[8] = (before & known)[:, :4].sum(axis=1)[request]


def _newer_of_the_same(window: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for every entry of windows (b, w) which entries are newer and of the same item, (b, w, w)."""
    same: NDArray[np.bool_] = window[:, :, None] == window[:, None, :]
    return same & np.tri(window.shape[1], k=-1, dtype=np.bool_)


def _age(now_ms: NDArray[np.int64], created_ms: NDArray[np.int64]) -> Float32s:
    """Return log(1 + age in hours)."""
    hours = (now_ms - created_ms) / 3_600_000.0
    return np.log1p(np.clip(hours, 0.0, _OLDEST_HOURS)).astype(np.float32)


def _by_request(contexts: Contexts) -> Float32s:
    """window_length, window_items, last_code, cart_share, last_dwell of every request, (5, b)."""
    lengths = np.minimum(contexts.lengths, CLICKS)
    keys, codes = contexts.keys[:, :CLICKS], contexts.codes[:, :CLICKS]
    used = np.arange(keys.shape[1]) < lengths[:, None]  # (b, w)
    repeats = (_newer_of_the_same(keys).any(axis=2) & used).sum(axis=1)
    wanted = (codes == EventCode.CART) | (codes == EventCode.PURCHASE)
    any_click, two_clicks = contexts.lengths > 0, contexts.lengths > 1
    out = np.zeros((5, len(contexts)), np.float32)
    out[0] = np.log1p(contexts.lengths)
    out[1] = lengths - repeats
    out[2] = np.where(any_click, codes[:, 0], np.nan)
    out[3] = (wanted & used).sum(axis=1) / np.maximum(lengths, 1)
    out[4] = np.nan
    if keys.shape[1] > 1:
        dwell_s = (contexts.ts_ms[:, 0] - contexts.ts_ms[:, 1]) / 1000.0
        out[4] = np.where(two_clicks, np.log1p(np.maximum(np.where(two_clicks, dwell_s, 0.0), 0.0)), np.nan)
    return out
