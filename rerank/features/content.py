"""Content features: price, category and brand, against those of the window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from rerank.features.block import ANY, FROM_ZERO, SHARE, Columns, Feature, block
from rerank.features.inputs import CLICKS, Inputs
from retrieval.catalogue import NO_CODE
from retrieval.key_rows import Rows

Float32s = NDArray[np.float32]
Codes = NDArray[np.int32]


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
    candidates, catalogue = inputs.candidates, inputs.catalogue
    _content(
        candidates.rows,
        candidates.starts,
        inputs.contexts.rows,
        catalogue.price,
        catalogue.category,
        catalogue.top_category,
        catalogue.brand,
        out.array,
    )


@kernel(
    reads("i4"),
    reads("i8"),
    reads("i4", 2),
    reads("f4"),
    reads("i4"),
    reads("i4"),
    reads("i4"),
    writes("f4", 2),
)
def _content(
    rows: Rows,
    starts: NDArray[np.intp],
    windows: Rows,
    prices: Float32s,
    categories: Codes,
    top_categories: Codes,
    brands: Codes,
    out: Float32s,
) -> None:
    """Write the block's rows (7, c): the candidates beside the newest entries of their request's window (b, w)."""
    width = min(CLICKS, windows.shape[1])
    for request in range(len(starts) - 1):
        total, priced, clicks = 0.0, 0, 0
        for place in range(width):
            row = windows[request, place]
            if row >= 0:
                clicks += 1
                if prices[row] > 0:
                    total += prices[row]
                    priced += 1
        usual = total / max(priced, 1)
        last = windows[request, 0]
        for at in range(starts[request], starts[request + 1]):
            row = rows[at]
            price = float(prices[row])
            out[0, at] = np.log1p(price) if price > 0 else np.nan
            out[1, at] = np.log(price / usual) if price > 0 and usual > 0 else np.nan
            same_category, same_top, same_brand = 0, 0, 0
            for place in range(width):
                other = windows[request, place]
                if other >= 0:
                    same_category += categories[other] == categories[row] and categories[row] != NO_CODE
                    same_top += top_categories[other] == top_categories[row] and top_categories[row] != NO_CODE
                    same_brand += brands[other] == brands[row] and brands[row] != NO_CODE
            share = 1.0 / max(clicks, 1)
            out[2, at], out[3, at], out[4, at] = same_category * share, same_top * share, same_brand * share
            out[5, at] = last >= 0 and categories[last] == categories[row] and categories[row] != NO_CODE
            out[6, at] = last >= 0 and brands[last] == brands[row] and brands[row] != NO_CODE
