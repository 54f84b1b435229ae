"""The encoder's memory: a gated recurrent unit beside the gated mean, as it serves. numpy only.

With x the item's vector, u the type of the click and h the memory of size r (Cho et al., EMNLP 2014):

    reset, update = sigmoid(A x + u + B h + c)
    news = tanh(A x + u + reset * (B h + c))
    h <- news + update * (h - news)

The gated mean can only point between items that were clicked. The memory adds what usually comes after them: the
query is unit(m + P h). What is made of x is made once an item; a click costs the product of B, r numbers by 3 r.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from session_model import artifact

MEMORY_ARRAYS: Final = ("memory_input", "memory_code", "memory_weight", "memory_bias", "memory_out")

CODES: Final = 4
"""Rows that a trained memory has for EventCodes: as `session_model.encoder`."""

Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Memory:
    """Weights of a memory of `size` r beside items of dimension d; its three parts are reset, update and news.

    `input` is A, float32 (d, 3r); `code` is u, (4, 3r), a row for each of the first EventCodes; `weight` is B,
    (r, 3r); `bias` is c, (3r,); `out` is P, (r, d): all as rows are multiplied by them.
    """

    input: Float32s
    code: Float32s
    weight: Float32s
    bias: Float32s
    out: Float32s

    @property
    def size(self) -> int:
        """Numbers in a memory."""
        return len(self.out)

    @classmethod
    def of(cls, arrays: Mapping[str, Float32s]) -> Self:
        """Make it of the artifact's MEMORY_ARRAYS, which are stored as torch has them: one row a number made."""
        turned = {name: np.ascontiguousarray(arrays[name].T, np.float32) for name in MEMORY_ARRAYS}
        return cls(
            input=turned["memory_input"],
            code=np.asarray(arrays["memory_code"], np.float32),
            weight=turned["memory_weight"],
            bias=turned["memory_bias"],
            out=turned["memory_out"],
        )

    @classmethod
    def load(cls, folder: Path, manifest: artifact.Manifest) -> Self | None:
        """Load it from an artifact; None where the model was trained without. Raises ArtifactError."""
        if MEMORY_ARRAYS[0] not in manifest.arrays:
            return None
        arrays = artifact.read_arrays(folder, manifest, MEMORY_ARRAYS)
        artifact.expect_shape(folder, "memory_out", arrays["memory_out"], (manifest.dim, -1))
        size = arrays["memory_out"].shape[1]
        shapes = ((3 * size, manifest.dim), (CODES, 3 * size), (3 * size, size), (3 * size,))
        for name, shape in zip(MEMORY_ARRAYS, shapes, strict=False):
            artifact.expect_shape(folder, name, arrays[name], shape)
        return cls.of(arrays)

    def heard(self, vectors: Float32s) -> Float32s:
        """Return what items of `vectors` (n, d) say to a memory (n, 3r), whatever it holds."""
        return vectors @ self.input

    def step(self, memory: Float32s, heard: Float32s, codes: NDArray[np.uint8]) -> Float32s:
        """Return memories (n, r) after a click each, on items that say `heard` (n, 3r), with EventCodes (n,)."""
        size = self.size
        told = heard + self.code[codes]  # (n, 3r)
        kept = memory @ self.weight + self.bias  # (n, 3r)
        gates = 0.5 * (np.tanh(0.5 * (told[:, : 2 * size] + kept[:, : 2 * size])) + 1.0)  # (n, 2r)
        news = np.tanh(told[:, 2 * size :] + gates[:, :size] * kept[:, 2 * size :])  # (n, r)
        return np.asarray(news + gates[:, size:] * (memory - news), np.float32)
