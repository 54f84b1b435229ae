"""Co-visitation features: what sessions clicked together with the last clicks of this one."""

from __future__ import annotations

from typing import Final

from rerank.features.arrays import share_of_best
from rerank.features.block import FROM_ZERO, SHARE, Columns, Feature, block
from rerank.features.inputs import Inputs

_NOT_WITH_NEWEST: Final = "not co-visited with the newest item"


@block(
    Feature(
        "covisit_last",
        "co-visitation weight of the newest item's pair with the candidate over the newest item's decayed clicks; "
        "a pair in which the candidate was clicked first counts half",
        SHARE,
        nan=_NOT_WITH_NEWEST,
    ),
    Feature("covisit_last_rank", "place by `covisit_last`, 0 first", FROM_ZERO, nan=_NOT_WITH_NEWEST),
    Feature("covisit", "the same share summed over the last clicks, that of the j-th newest divided by j", FROM_ZERO),
    Feature("covisit_count", "how many of the last clicks the candidate is co-visited with", FROM_ZERO),
    Feature("covisit_to_best", "`covisit` over the largest of the request", SHARE),
    Feature("after_last", "as `covisit_last`, of clicks after the newest item alone", SHARE, nan=_NOT_WITH_NEWEST),
    Feature("after", "as `covisit`, of clicks after the item alone", FROM_ZERO),
    Feature("together_last", "as `covisit_last`, of recent clicks", SHARE, nan=_NOT_WITH_NEWEST),
    Feature(
        "together_last_rank",
        "place by `together_last`, 0 first",
        FROM_ZERO,
        nan=f"{_NOT_WITH_NEWEST}, or not recently",
    ),
    Feature("together", "as `covisit`, of recent clicks", FROM_ZERO),
    Feature("together_to_best", "`together` over the largest of the request", SHARE),
)
def covisitation(out: Columns, inputs: Inputs) -> None:
    """What the co-visitation source says of the candidate, over all and recently.

    Recent clicks and pairs fade 48 times as fast as the others (`TREND__RECENT_PACE`).
    """
    candidates = inputs.candidates
    out["covisit_last"] = candidates.covisit_last
    out["covisit_last_rank"] = candidates.covisit_last_rank
    out["covisit"] = candidates.covisit
    out["covisit_count"] = candidates.covisit_count
    out["covisit_to_best"] = share_of_best(candidates.covisit, candidates.starts)
    out["after_last"] = candidates.after_last
    out["after"] = candidates.after
    out["together_last"] = candidates.together_last
    out["together_last_rank"] = candidates.together_last_rank
    out["together"] = candidates.together
    out["together_to_best"] = share_of_best(candidates.together, candidates.starts)
