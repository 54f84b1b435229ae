"""Content features: price, category and brand, against those of the window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rerank.features.block import ANY, FROM_ZERO, SHARE, Columns, Feature, block
from rerank.features.inputs import CLICKS, Inputs
from retrieval.catalogue import NO_CODE
from retrieval.key_rows import Rows

Float32s = NDArray[np.float32]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]


@block(
    Feature("price", "log(1 + price)", FROM_ZERO, nan="the candidate has no price above 0"),
    Feature(
        "price_to_session",
        f"log(price / mean price of the newest {CLICKS} window entries that have one)",
        ANY,
        nan="the candidate or the window has no price above 0",
    ),
    Feature("category_share", f"share of the newest {CLICKS} window entries in the candidate's category", SHARE),
    Feature("top_category_share", "the same of the top level of the category", SHARE),
    Feature("brand_share", "the same of the brand", SHARE),
    Feature("last_category", "1 if the newest window entry has the candidate's category", SHARE),
    Feature("last_brand", "1 if the newest window entry has the candidate's brand", SHARE),
)
def content(out: Columns, inputs: Inputs) -> None:
    """What the candidate is, and how much of the window is like it.

    An item without a category, or without a brand, shares it with no other item.
    """
    candidates, catalogue, window = inputs.candidates, inputs.catalogue, inputs.window
    rows, request, known = candidates.rows, candidates.request, inputs.window >= 0
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
