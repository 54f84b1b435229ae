"""Array functions that several feature blocks use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes

Float32s = NDArray[np.float32]


def share_of_best(values: Float32s, starts: NDArray[np.intp]) -> Float32s:
    """Return each value as a share of its request's largest, (c,); 0 where all are 0.

    `values` (c,) are grouped by request, c > 0; request i has those from `starts[i]` to `starts[i + 1]`.
    """
    shares = np.empty(len(values), np.float32)
    _share_of_best(values, starts, shares)
    return shares


@kernel(reads("f4"), reads("i8"), writes("f4"))
def _share_of_best(values: Float32s, starts: NDArray[np.intp], out: Float32s) -> None:
    for request in range(len(starts) - 1):
        best = np.float32(1e-30)
        for at in range(starts[request], starts[request + 1]):
            best = max(best, values[at])
        for at in range(starts[request], starts[request + 1]):
            out[at] = values[at] / best
