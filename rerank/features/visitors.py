"""Device and region features: how much more visitors of a kind click the candidate. Optional: see `features.parts`."""

from __future__ import annotations

from typing import Final

import numpy as np

from rerank.features.block import ANY, Columns, Feature, block
from rerank.features.inputs import Inputs
from retrieval.group_lifts import log_lifts

DEVICE_AT: Final = 0
REGION_AT: Final = 1
"""Columns of `Contexts.visitors`."""


@block(
    Feature(
        "device_lift",
        "log(clicks on the candidate by the visitor's device / those that all visitors would have made), smoothed by "
        "20 clicks at the rate of the category",
        ANY,
        nan="the request names no device, or none of its clicks was counted",
    ),
    Feature("device_category_lift", "the same of the category, smoothed by 20 clicks", ANY, nan="as `device_lift`"),
)
def device(out: Columns, inputs: Inputs) -> None:
    """What visitors on this device click more than others do, by the counts of what trends among them."""
    _write(out, inputs, DEVICE_AT, ("device_lift", "device_category_lift"))


@block(
    Feature(
        "region_lift",
        "log(clicks on the candidate from the visitor's region / those that all visitors would have made), smoothed by "
        "20 clicks at the rate of the category",
        ANY,
        nan="the request names no region, or none of its clicks was counted",
    ),
    Feature("region_category_lift", "the same of the category, smoothed by 20 clicks", ANY, nan="as `region_lift`"),
)
def region(out: Columns, inputs: Inputs) -> None:
    """What visitors from this region click more than others do, by the counts of what trends among them."""
    _write(out, inputs, REGION_AT, ("region_lift", "region_category_lift"))


def _write(out: Columns, inputs: Inputs, kind: int, names: tuple[str, str]) -> None:
    for name in names:
        out[name] = np.nan
    visitors, starts = inputs.contexts.visitors, inputs.candidates.starts
    if visitors is None:
        return
    groups = inputs.trends.rows_of(visitors[:, kind].copy())
    codes = inputs.catalogue.category[inputs.candidates.rows]
    lift, of_category = (out[name] for name in names)
    for request in np.flatnonzero((groups >= 0) & (visitors[:, kind] != 0)).tolist():
        mine = slice(int(starts[request]), int(starts[request + 1]))
        if mine.start < mine.stop:
            lift[mine], of_category[mine] = log_lifts(
                int(groups[request]),
                inputs.keys[mine],
                codes[mine],
                inputs.trends,
                inputs.catalogue,
                int(inputs.contexts.now_ms[request]),
            )
