"""Co-visitation cosines: pairs divided by how often either item is clicked.

What goes with everything is near to nothing (Sarwar et al., WWW 2001).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rerank.features.block import FROM_ZERO, SHARE, Columns, Feature, block
from rerank.features.inputs import Inputs

Float32s = NDArray[np.float32]


@block(
    Feature(
        "covisit_second",
        "`covisit_last` of the second newest item",
        SHARE,
        nan="not co-visited with the second newest item",
    ),
    Feature(
        "covisit_cosine_last",
        "`covisit_last` × √(decayed clicks of the newest item) / √(1 + decayed clicks of the candidate)",
        FROM_ZERO,
        nan="not co-visited with the newest item",
    ),
    Feature(
        "covisit_cosine",
        "the same summed over the last clicks: Σ share × √(decayed clicks of its item) / √(1 + decayed clicks of the "
        "candidate)",
        FROM_ZERO,
    ),
)
def covisitation_cosines(out: Columns, inputs: Inputs) -> None:
    """Co-visitation weighed against how often the candidate is clicked anyway."""
    candidates = inputs.candidates
    out["covisit_second"] = candidates.covisit_second
    _cosines(out, paired_last=candidates.paired_last, paired=candidates.paired, popularity=inputs.popularity)


def _cosines(out: Columns, *, paired_last: Float32s, paired: Float32s, popularity: Float32s) -> None:
    """Divide pair weights (c,) by the root of the candidates' decayed clicks (c,)."""
    often = np.sqrt(popularity + np.float32(1))
    out["covisit_cosine_last"] = paired_last / often
    out["covisit_cosine"] = paired / often
