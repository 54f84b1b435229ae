"""User models as they serve: arrays and numpy alone. Each scores all n items for c moments, (c, n) float32; -inf where
it cannot say.

`own` and `profile` learn nothing. ALS: Hu, Koren and Volinsky (ICDM 2008), a visitor folded in by their own clicks.
Neural matrix factorisation: He et al. (WWW 2017). Autoencoder: the denoising one of Liang et al. (WWW 2018).
Wide-and-deep: Cheng et al. (DLRS 2016). The tower moves the blended vector of `profile` by a small network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from evaluation.sessions import Longs
from learning.users.known import Known

Float32s = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]
_PAIRS_AT_ONCE = 2_000_000


class UserModel(Protocol):
    """Scores items for visitors."""

    def scores(self, known: Known) -> Float32s:
        """Return (c, n); -inf where it cannot say."""
        ...


@dataclass(frozen=True, slots=True)
class OwnItems:
    """The visitor's own items: decayed clicks of earlier visits."""

    def scores(self, known: Known) -> Float32s:
        weights = known.history.toarray()  # (c, n)
        return np.where(weights > 0, weights, -np.inf).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Space:
    """Items as vectors (n, d), and which of them have one (n,)."""

    vectors: Float32s
    has_vector: NDArray[np.bool_]

    def scores(self, queries: Float32s) -> Float32s:
        """Return cosines (c, n) with unit queries (c, d); nothing for a query of zeros."""
        told = np.any(queries != 0.0, axis=1)[:, None] & self.has_vector
        return np.where(told, queries @ self.vectors.T, -np.inf).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile's vector, blended with the visit's."""

    space: Space
    share: float

    def scores(self, known: Known) -> Float32s:
        return self.space.scores(blended(known.profile, known.query, self.share))


@dataclass(frozen=True, slots=True)
class Tower:
    """unit(blend + network(profile, query, facts)). `weights` and `biases` by layer, (in, out) and (out,)."""

    space: Space
    share: float
    weights: tuple[Float32s, ...]
    biases: tuple[Float32s, ...]

    def queries(self, known: Known) -> Float32s:
        """Return unit vectors (c, d) in the space of items."""
        moved = dense(np.hstack([known.profile, known.query, known.facts]), self.weights, self.biases)
        return unit(blended(known.profile, known.query, self.share) + moved)

    def scores(self, known: Known) -> Float32s:
        return self.space.scores(self.queries(known))


@dataclass(frozen=True, slots=True)
class Factors:
    """ALS. `items` (n, f), zeros for an item that training did not see."""

    items: Float32s
    regularization: float
    confidence: float

    def scores(self, known: Known) -> Float32s:
        users = np.zeros((len(known), self.items.shape[1]), np.float64)
        gram = self.items.T.astype(np.float64) @ self.items + self.regularization * np.eye(self.items.shape[1])
        clicked = known.both
        for at in range(len(known)):
            row = slice(clicked.indptr[at], clicked.indptr[at + 1])
            own = self.items[clicked.indices[row]].astype(np.float64)  # (h, f)
            sure = self.confidence * clicked.data[row]  # (h,)
            users[at] = np.linalg.solve(gram + (own.T * sure) @ own, own.T @ (1.0 + sure))
        found = users.astype(np.float32) @ self.items.T
        trained = np.any(self.items != 0.0, axis=1) & np.any(users != 0.0, axis=1)[:, None]
        return np.where(trained, found, -np.inf).astype(np.float32)


@dataclass(frozen=True, slots=True)
class NeuralFactors:
    """users (u, 2e) and items (n, 2e): first halves are multiplied, second halves go through a layer (2e, h), with
    `bias` (h,), and `out` (e + h,). A visitor without training has zeros, and is told nothing.
    """

    users: Float32s
    items: Float32s
    layer: Float32s
    bias: Float32s
    out: Float32s
    trained: NDArray[np.bool_]

    def scores(self, known: Known) -> Float32s:
        e = self.items.shape[1] // 2
        user = self.users[known.users]  # (c, 2e)
        told = np.any(user != 0.0, axis=1)[:, None] & self.trained
        product = (user[:, :e] * self.out[:e]) @ self.items[:, :e].T
        left, right = user[:, e:] @ self.layer[:e] + self.bias, self.items[:, e:] @ self.layer[e:]
        return np.where(told, product + pairs(left, right, self.out[e:]), -np.inf).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Autoencoder:
    """softmax logits of tanh(x A + a) B + b, x the unit row of all clicks. A (n, h), B (h, n)."""

    into: Float32s
    into_bias: Float32s
    out: Float32s
    out_bias: Float32s
    trained: NDArray[np.bool_]

    def scores(self, known: Known) -> Float32s:
        clicked = unit_rows(known.both)
        hidden = np.tanh(clicked @ self.into + self.into_bias)
        told = (np.diff(clicked.indptr) > 0)[:, None] & self.trained
        return np.where(told, hidden @ self.out + self.out_bias, -np.inf).astype(np.float32)


@dataclass(frozen=True, slots=True)
class WideDeep:
    """A linear part over what a visitor and an item have in common, `wide` (w,), beside a network over both: `left`
    (2d + facts, h), `right` (d + 1, h), `bias` (h,), `out` (h,).
    """

    space: Space
    groups: Longs
    popularity: Float32s
    trained: NDArray[np.bool_]
    wide: Float32s
    left: Float32s
    right: Float32s
    bias: Float32s
    out: Float32s

    def scores(self, known: Known) -> Float32s:
        every = np.arange(len(self.popularity))
        common = in_common(known, self.space.vectors, self.groups, self.popularity, every)  # (w, c, n)
        visitor = np.hstack([known.profile, known.query, known.facts]) @ self.left + self.bias
        item = np.hstack([self.space.vectors, self.popularity[:, None]]) @ self.right
        found = np.tensordot(self.wide, common, 1) + pairs(visitor, item, self.out)
        return np.where(self.trained, found, -np.inf).astype(np.float32)


def in_common(
    known: Known, vectors: Float32s, groups: Longs, popularity: Float32s, items: NDArray[np.intp]
) -> Float32s:
    """Return what visitors and `items` (m,) have in common (w, c, m): clicks before and now, cosines, the share of
    earlier clicks in the item's category, brand and price band, popularity.
    """
    columns = [
        np.log1p(known.history[:, items].toarray()),
        np.log1p(known.session[:, items].toarray()),
        known.profile @ vectors[items].T,
        known.query @ vectors[items].T,
        *(_affinity(known.history, codes, items) for codes in groups),
        np.broadcast_to(popularity[items], (len(known), len(items))),
    ]
    return np.stack(columns).astype(np.float32)


def _affinity(history: csr_matrix, codes: Longs, items: NDArray[np.intp]) -> Float32s:
    """Return the share (c, m) of each visitor's clicks that have the item's code; 0 for an item without one."""
    count = int(codes.max(initial=-1)) + 1
    has = np.flatnonzero(codes >= 0)
    if not count:
        return np.zeros((history.shape[0], len(items)), np.float32)
    member = csr_matrix((np.ones(len(has), np.float32), (has, codes[has])), shape=(len(codes), count))
    by_code = (history @ member).toarray()  # (c, count)
    by_code /= np.maximum(by_code.sum(axis=1, keepdims=True), 1e-9)
    codes = codes[items]
    return np.where(codes >= 0, by_code[:, np.maximum(codes, 0)], 0.0).astype(np.float32)


def blended(profile: Float32s, query: Float32s, share: float) -> Float32s:
    """Return unit vectors (c, d): the visit's query with the profile's share; the profile alone on arrival."""
    here = np.any(query != 0.0, axis=1)[:, None]
    return unit(np.where(here, (1.0 - share) * query + share * profile, profile))


def dense(rows: Float32s, weights: tuple[Float32s, ...], biases: tuple[Float32s, ...]) -> Float32s:
    """Return a network's outputs: rectified layers, the last one linear."""
    for at, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        rows = rows @ weight + bias
        if at < len(weights) - 1:
            rows = np.maximum(rows, 0.0)
    return np.asarray(rows, np.float32)


def pairs(left: Float32s, right: Float32s, out: Float32s) -> Float32s:
    """Return relu(left[c] + right[n]) . out for all pairs (c, n), left (c, h), right (n, h)."""
    found = np.empty((len(left), len(right)), np.float32)
    rows = max(1, _PAIRS_AT_ONCE // max(right.size, 1))
    for at in range(0, len(left), rows):
        found[at : at + rows] = np.maximum(left[at : at + rows, None] + right, 0.0) @ out
    return found


def unit(vectors: Float32s) -> Float32s:
    """Return vectors at length 1; zeros stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1.0), np.float32)


def unit_rows(rows: csr_matrix) -> csr_matrix:
    """Return sparse rows at length 1; empty ones stay."""
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    scaled = rows.copy()
    scaled.data = (rows.data / np.repeat(np.where(norms > 0, norms, 1.0), np.diff(rows.indptr))).astype(np.float32)
    return scaled
