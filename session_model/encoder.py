"""The session encoder as it serves: numpy only, a batch of sessions at a time.

State and items live in one space. A click on item x moves the state towards the item's vector by a gate:

    m <- m + z(x) * (e(x) - m),   z(x) = sigmoid(W e(x) + b + shift[event code]),   query = unit(m + P h)

This is a minimal gated recurrence (Heck and Salem 2017, and Feng et al. 2024, "Were RNNs all we needed?") whose
gate looks at the input alone, so that one click costs one small product. Beside it stands `session_model.memory`, h,
which adds what usually comes next; a model may be trained without one, and then its query is unit(m).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from contracts.errors import ArtifactError
from contracts.events import EventCode
from contracts.sessions import Clicks
from session_model import artifact
from session_model.memory import CODES, Memory

GATE_ARRAYS: Final = ("gate_weight", "gate_bias", "gate_shift")
GATE_ROWS: Final = np.zeros(256, np.uint8)
"""By EventCode, the row that moves a state: those of view, cart and purchase; 0, the row that is never used, for
events that leave it as it is."""
GATE_ROWS[[EventCode.VIEW, EventCode.CART, EventCode.PURCHASE]] = EventCode.VIEW, EventCode.CART, EventCode.PURCHASE
GATE_ROWS[[EventCode.LIKE, EventCode.LOOK]] = EventCode.CART
_FEW: Final = 64


class VectorLookup(Protocol):
    """Where the encoder gets item vectors from."""

    def vectors_of(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return vectors (n, d) of item keys (n,), and which of them are known (n,)."""
        ...


class SessionEncoder:
    """Moves session states by clicks. Holds weights only; every method is pure.

    A state is m and then h, float32 (width,): d numbers, then the memory's. `weight` is W, float32 (d, d); `bias` is b,
    (d,); `shift` is one row for each of the first EventCodes, (4, d). The row of OTHER is never used: `GATE_ROWS` says
    which events move a state, and by which row.
    """

    def __init__(
        self,
        *,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        shift: NDArray[np.float32],
        version: int,
        memory: Memory | None = None,
    ) -> None:
        dim = len(bias)
        if weight.shape != (dim, dim) or shift.shape != (CODES, dim):
            raise ArtifactError(
                f"expected gate weight {(dim, dim)} and shift {(CODES, dim)} beside a bias of {dim}, "
                f"got {weight.shape} and {shift.shape}: train the model again"
            )
        self.version: Final = version
        self.dim: Final = dim
        self.width: Final = dim + (memory.size if memory is not None else 0)
        self._memory = memory
        self._weight = np.ascontiguousarray(weight.T, np.float32)  # (d, d), ready for e @ W.T
        self._shift = (shift + bias).astype(np.float32)  # (codes, d)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load from the folder that holds `manifest.json`. Raises ArtifactError."""
        manifest = artifact.read_manifest(folder, artifact.SESSION_MODEL)
        arrays = artifact.read_arrays(folder, manifest, GATE_ARRAYS)
        artifact.expect_shape(folder, "gate_bias", arrays["gate_bias"], (manifest.dim,))
        return cls(
            weight=arrays["gate_weight"],
            bias=arrays["gate_bias"],
            shift=arrays["gate_shift"],
            version=manifest.number,
            memory=Memory.load(folder, manifest),
        )

    def empty(self, count: int) -> NDArray[np.float32]:
        """Return the states of sessions without clicks, zeros (count, width)."""
        return np.zeros((count, self.width), np.float32)

    def step(
        self, states: NDArray[np.float32], vectors: NDArray[np.float32], codes: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Return the states (n, width) after one click each, on items of `vectors` (n, d) with EventCodes (n,).

        Every vector must be a known item's. OTHER, and any code this release does not know, changes nothing.
        """
        known = GATE_ROWS[codes]
        counted = known != 0
        moved = self._move(states, vectors, vectors @ self._weight, self._heard(vectors), known)
        return np.where(counted[:, None], moved, states).astype(np.float32, copy=False)

    def query(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return unit vectors (n, d) to compare with items; a state without clicks stays zero."""
        means = states[:, : self.dim]
        if self._memory is not None:
            means = means + states[:, self.dim :] @ self._memory.out  # (n, d)
        unit = np.empty(means.shape, np.float32)
        _to_unit(np.ascontiguousarray(means, np.float32), unit)
        return unit

    def encode(
        self, windows: Sequence[Clicks], item_vectors: VectorLookup
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the states (n, width) after each window's clicks, and which sessions are incomplete (n,).

        Clicks on items without a vector are skipped and mark their session incomplete. The result is that of
        `step`, click by click. Works step by step through time, on all sessions at once.
        """
        if not any(len(window) for window in windows):
            return self.empty(len(windows)), np.zeros(len(windows), np.bool_)
        clicks = np.concatenate(windows)
        lengths = np.array([len(window) for window in windows])
        return self.encode_clicks(clicks["item"], clicks["code"], lengths, item_vectors)

    def encode_clicks(
        self,
        items: NDArray[np.uint64],
        codes: NDArray[np.uint8],
        lengths: NDArray[np.int64],
        item_vectors: VectorLookup,
        states: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """As `encode`, of n windows that are laid end to end: items and codes (clicks,), and their lengths (n,).

        `states` (n, width) are those before the clicks, changed in place; all empty where left out.
        """
        if states is None:
            states = self.empty(len(lengths))
        incomplete = np.zeros(len(lengths), np.bool_)
        owner = np.repeat(np.arange(len(lengths)), lengths)  # (clicks,)
        codes = GATE_ROWS[codes]
        counted = codes != 0
        if not counted.all():
            owner, items, codes = owner[counted], items[counted], codes[counted]
        if not len(items):
            return states, incomplete
        keys, row_of = _distinct(items)
        vectors, known = item_vectors.vectors_of(keys)  # (keys, d), (keys,)
        if not known.all():
            has_vector = known[row_of]
            incomplete[owner[~has_vector]] = True
            owner, codes, row_of = owner[has_vector], codes[has_vector], row_of[has_vector]
        self._run(states, owner, vectors, row_of, codes)
        return states, incomplete

    def _run(
        self,
        states: NDArray[np.float32],
        owner: NDArray[np.intp],
        vectors: NDArray[np.float32],
        row_of: NDArray[np.intp],
        codes: NDArray[np.uint8],
    ) -> None:
        """Move `states` in place by clicks that are grouped by owner, in order of time."""
        logits, heard = vectors @ self._weight, self._heard(vectors)  # (keys, d), (keys, 3r)
        lengths = np.bincount(owner, minlength=len(states))  # (n,)
        starts = np.cumsum(lengths) - lengths
        longest_first = np.argsort(-lengths, kind="stable")
        for at in range(int(lengths.max(initial=0))):
            active = longest_first[: int(np.count_nonzero(lengths > at))]
            click = starts[active] + at
            row = row_of[click]
            said = heard[row] if heard is not None else None
            states[active] = self._move(states[active], vectors[row], logits[row], said, codes[click])

    def _heard(self, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        return self._memory.heard(vectors) if self._memory is not None else None

    def _move(
        self,
        states: NDArray[np.float32],
        vectors: NDArray[np.float32],
        logits: NDArray[np.float32],
        heard: NDArray[np.float32] | None,
        codes: NDArray[np.uint8],
    ) -> NDArray[np.float32]:
        """Return the states (n, width) after a click each, from what is made of their items alone."""
        means = states[:, : self.dim]
        means = means + _sigmoid(logits + self._shift[codes]) * (vectors - means)  # (n, d)
        if self._memory is None or heard is None:
            return means
        return np.concatenate([means, self._memory.step(states[:, self.dim :], heard, codes)], axis=1)


def _distinct(items: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Return keys, and the place of each item among them; of a few items, finding what is there twice costs more than
    taking it twice."""
    if len(items) <= _FEW:
        return items, np.arange(len(items))
    return np.unique(items, return_inverse=True)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    # by tanh, which does not overflow for any logit
    return np.asarray(0.5 * (np.tanh(0.5 * logits) + 1.0), np.float32)


@kernel(reads("f4", 2), writes("f4", 2))
def _to_unit(vectors: NDArray[np.float32], unit: NDArray[np.float32]) -> None:
    """Write vectors (n, d) at length 1; zeros stay."""
    for at in range(vectors.shape[0]):
        total = 0.0
        for k in range(vectors.shape[1]):
            total += float(vectors[at, k]) * float(vectors[at, k])
        norm = np.float32(np.sqrt(total)) if total > 0 else np.float32(1)
        for k in range(vectors.shape[1]):
            unit[at, k] = vectors[at, k] / norm
