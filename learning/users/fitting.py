"""Trains the user models: torch, and `implicit` for ALS. Nothing else of the room imports either.

Each function takes what is known at the training moments and the item that was clicked, and returns the model as it
serves. The same input, settings and seed give the same model on the same number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch.nn import functional as F

from evaluation.sessions import Longs
from learning.users.known import FACTS, Known
from learning.users.lessons import Lessons
from learning.users.models import (
    Autoencoder,
    Factors,
    Float32s,
    NeuralFactors,
    Tower,
    WideDeep,
    blended,
    in_common,
    unit_rows,
)
from learning.users.settings import UserSettings

Progress = Callable[[int, int], None]


def fit_tower(lessons: Lessons, hidden: Sequence[int], settings: UserSettings, seed: int, progress: Progress) -> Tower:
    """Train the user tower: its output against the vectors of all trained items, by softmax."""
    known, space = lessons.known, lessons.space
    d = space.vectors.shape[1]
    shown = lessons.side.trained[space.has_vector[lessons.side.trained]]
    column = _columns(shown, len(space.vectors))
    use = np.flatnonzero(column[lessons.targets] >= 0)
    rows = torch.from_numpy(np.hstack([known.profile, known.query, known.facts]))
    base = torch.from_numpy(blended(known.profile, known.query, settings.profile_share))
    items, targets = torch.from_numpy(space.vectors[shown]), torch.from_numpy(column[lessons.targets])
    with _seeded(seed, settings.threads):
        layers = [torch.nn.Linear(*sizes) for sizes in _sizes(2 * d + FACTS, hidden, d)]
        torch.nn.init.zeros_(layers[-1].weight)
        torch.nn.init.zeros_(layers[-1].bias)

        def loss(batch: NDArray[np.intp]) -> torch.Tensor:
            x = F.dropout(rows[batch], settings.dropout)
            for layer in layers[:-1]:
                x = F.dropout(F.relu(layer(x)), settings.dropout)
            query = F.normalize(base[batch] + layers[-1](x), dim=1)  # (b, d)
            return F.cross_entropy(settings.scale * query @ items.T, targets[batch])

        _descend([one for layer in layers for one in layer.parameters()], loss, use, settings, seed, progress)
    weights = tuple(_array(layer.weight).T.copy() for layer in layers)
    return Tower(space, settings.profile_share, weights, tuple(_array(layer.bias) for layer in layers))


def fit_factors(clicks: csr_matrix, settings: UserSettings, seed: int) -> Factors:
    """Factor the clicks (u, n) of visitors by alternating least squares."""
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    sure = clicks.copy()
    sure.data = 1.0 + settings.confidence * sure.data
    with threadpool_limits(1, "blas"):  # its own threads and BLAS's get in each other's way
        model = AlternatingLeastSquares(
            factors=settings.factors,
            regularization=settings.regularization,
            alpha=1.0,
            iterations=settings.iterations,
            num_threads=settings.threads,
            random_state=seed,
        )
        model.fit(sure.tocsr(), show_progress=False)
    items = np.array(model.item_factors, np.float32)
    items[np.asarray(clicks.sum(axis=0)).ravel() == 0] = 0.0
    return Factors(items, settings.regularization, settings.confidence)


def fit_neural_factors(lessons: Lessons, settings: UserSettings, seed: int, progress: Progress) -> NeuralFactors:
    """Train visitors and items as embeddings, each clicked item against others drawn evenly."""
    e, n = settings.embedding, len(lessons.side.clicks)
    users, targets = torch.from_numpy(lessons.known.users), torch.from_numpy(lessons.targets.astype(np.int64))
    rng = np.random.default_rng(seed + 1)
    with _seeded(seed, settings.threads):
        user = torch.nn.Embedding(lessons.user_count, 2 * e)
        item = torch.nn.Embedding(n, 2 * e)
        layer, out = torch.nn.Linear(2 * e, e), torch.nn.Linear(2 * e, 1, bias=False)
        for table in (user, item):
            torch.nn.init.normal_(table.weight, std=0.1)

        def loss(batch: NDArray[np.intp]) -> torch.Tensor:
            asked = _with_drawn(targets[batch], lessons.side.trained, settings.negatives, rng)  # (b, m)
            p, q = user(users[batch])[:, None, :], item(asked)  # (b, 1, 2e), (b, m, 2e)
            p, q = F.dropout(p, settings.dropout), F.dropout(q, settings.dropout)
            seen = torch.cat([p[..., e:].expand(-1, asked.shape[1], -1), q[..., e:]], dim=2)
            both = torch.cat([p[..., :e] * q[..., :e], F.relu(layer(seen))], dim=2)  # (b, m, 2e)
            return _first_of(out(both)[..., 0])

        parameters = [one for part in (user, item, layer, out) for one in part.parameters()]
        _descend(parameters, loss, np.arange(len(users)), settings, seed, progress)
    table = np.zeros((lessons.user_count, 2 * e), np.float32)
    learnt = np.unique(lessons.known.users)
    table[learnt] = _array(user.weight)[learnt]
    return NeuralFactors(
        table, _array(item.weight), _array(layer.weight).T.copy(), _array(layer.bias), _array(out.weight)[0],
        lessons.side.clicks > 0,
    )  # fmt: skip


def fit_autoencoder(lessons: Lessons, settings: UserSettings, seed: int, progress: Progress) -> Autoencoder:
    """Train to tell the next click from all clicks before it, some of them left out."""
    n, h = len(lessons.side.clicks), settings.bottleneck
    shown = lessons.side.trained
    column = _columns(shown, n)
    targets, clicked = torch.from_numpy(column[lessons.targets]), unit_rows(lessons.known.both)[:, shown].tocsr()
    use = np.flatnonzero(column[lessons.targets] >= 0)
    with _seeded(seed, settings.threads):
        into, out = torch.nn.Linear(len(shown), h), torch.nn.Linear(h, len(shown))

        def loss(batch: NDArray[np.intp]) -> torch.Tensor:
            x = F.dropout(torch.from_numpy(clicked[batch].toarray().astype(np.float32)), settings.dropout)
            return F.cross_entropy(out(torch.tanh(into(x))), targets[batch])

        _descend([*into.parameters(), *out.parameters()], loss, use, settings, seed, progress)
    first, last, bias = np.zeros((n, h), np.float32), np.zeros((h, n), np.float32), np.zeros(n, np.float32)
    first[shown], last[:, shown], bias[shown] = _array(into.weight).T, _array(out.weight).T, _array(out.bias)
    return Autoencoder(first, _array(into.bias), last, bias, lessons.side.clicks > 0)


def fit_wide_deep(lessons: Lessons, settings: UserSettings, seed: int, progress: Progress) -> WideDeep:
    """Train the linear part and the network together, each clicked item against others drawn evenly."""
    known, side, h = lessons.known, lessons.side, settings.embedding
    vectors, popularity = lessons.space.vectors, side.popularity
    visitor = torch.from_numpy(np.hstack([known.profile, known.query, known.facts]))
    item = torch.from_numpy(np.hstack([vectors, popularity[:, None]]))
    targets, rng = torch.from_numpy(lessons.targets.astype(np.int64)), np.random.default_rng(seed + 1)
    with _seeded(seed, settings.threads):
        left, right = torch.nn.Linear(visitor.shape[1], h), torch.nn.Linear(item.shape[1], h, bias=False)
        out, wide = torch.nn.Linear(h, 1, bias=False), torch.nn.Parameter(torch.zeros(5 + len(side.groups)))

        def loss(batch: NDArray[np.intp]) -> torch.Tensor:
            asked = _with_drawn(targets[batch], side.trained, settings.negatives, rng)  # (b, m)
            common = _common_of(known.part(batch), asked.numpy(), vectors, side.groups, popularity)  # (b, m, w)
            seen = left(F.dropout(visitor[batch], settings.dropout))[:, None] + right(item[asked])  # (b, m, h)
            return _first_of(torch.from_numpy(common) @ wide + out(F.relu(seen))[..., 0])

        _descend(
            [*left.parameters(), *right.parameters(), *out.parameters(), wide],
            loss,
            np.arange(len(targets)),
            settings,
            seed,
            progress,
        )
    return WideDeep(
        lessons.space, side.groups, popularity, side.clicks > 0, _array(wide), _array(left.weight).T.copy(),
        _array(right.weight).T.copy(), _array(left.bias), _array(out.weight)[0],
    )  # fmt: skip


def _common_of(known: Known, asked: Longs, vectors: Float32s, groups: Longs, popularity: Float32s) -> Float32s:
    """Return `in_common` (b, m, w) of the items asked (b, m) alone."""
    items, place = np.unique(asked, return_inverse=True)
    every = in_common(known, vectors, groups, popularity, items)  # (w, b, items)
    return np.ascontiguousarray(every[:, np.arange(len(asked))[:, None], place.reshape(asked.shape)].transpose(1, 2, 0))


def _with_drawn(targets: torch.Tensor, trained: NDArray[np.intp], count: int, rng: np.random.Generator) -> torch.Tensor:
    """Return each target (b,) and behind it `count` items (b, 1 + count), drawn once for the batch."""
    drawn = torch.from_numpy(rng.choice(trained, min(count, len(trained)), replace=False))
    return torch.cat([targets[:, None], drawn.expand(len(targets), -1)], dim=1)


def _first_of(logits: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of the first column (b, m) among all; one that was drawn too counts once more."""
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))


def _descend(
    parameters: Sequence[torch.Tensor],
    loss: Callable[[NDArray[np.intp]], torch.Tensor],
    use: NDArray[np.intp],
    settings: UserSettings,
    seed: int,
    progress: Progress,
) -> None:
    """Take Adam's steps over shuffled batches of `use`."""
    adam = torch.optim.Adam(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    rng = np.random.default_rng(seed)
    total, done = settings.train_epochs * len(use), 0
    for _ in range(settings.train_epochs):
        order = rng.permutation(use)
        for at in range(0, len(order), settings.batch):
            adam.zero_grad(set_to_none=True)
            loss(order[at : at + settings.batch]).backward()
            adam.step()
            done += len(order[at : at + settings.batch])
            progress(done, total)


@contextmanager
def _seeded(seed: int, threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def _sizes(first: int, hidden: Sequence[int], last: int) -> list[tuple[int, int]]:
    return list(pairwise((first, *hidden, last)))


def _columns(shown: NDArray[np.intp], count: int) -> Longs:
    """Return each item's column among those shown (count,), -1 for the others."""
    column = np.full(count, -1, np.int64)
    column[shown] = np.arange(len(shown))
    return column


def _array(tensor: torch.Tensor) -> Float32s:
    return np.asarray(tensor.detach().numpy(), np.float32)
