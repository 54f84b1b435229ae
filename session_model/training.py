"""Training the session model: recorded events and items in, an artifact folder out. The only door to torch.

Both towers are trained together to tell a session's next click from other items: softmax over unit vectors with a
temperature, on candidates that are shared by a batch, corrected for how they were sampled. The latest sessions are
kept aside, and decide which train epoch is exported.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field as Setting
from torch.nn import functional as F

from contracts.errors import ArtifactError
from contracts.events import Event
from contracts.ids import item_key
from contracts.items import Item
from contracts.settings import Group, SessionSettings
from evaluation.metrics import hit_rate, mrr, ranks_of_targets
from eventlog.files import read_events, read_items
from session_model import artifact, batches, content, histories
from session_model.histories import Histories
from session_model.model import ItemContent, TwoTowers

K = 20


class TrainingSettings(Group):
    """How to train. The defaults hold for shops and news alike; see docs/model.md for what was measured."""

    dim: int = Setting(default=64, ge=2, le=1024, description="Dimensions of items and sessions.")
    train_epochs: int = Setting(default=8, ge=1, description="Passes over the sessions, at most.")
    patience: int = Setting(default=2, ge=1, description="Stop after this many train epochs without a better MRR.")
    batch_sessions: int = Setting(default=256, ge=2, description="Sessions in a batch.")
    negatives: int = Setting(default=1024, ge=1, description="Items drawn for each batch, beside its own.")
    negative_power: float = Setting(default=0.5, ge=0, le=1, description="They are drawn by clicks to this power.")
    learning_rate: float = Setting(default=4e-3, gt=0, description="Adam's, at the start; falls by a cosine to 0.")
    scale: float = Setting(default=14.0, gt=0, description="What cosines are multiplied by before the softmax.")
    input_dropout: float = Setting(default=0.5, ge=0, lt=1, description="Share of clicked vectors' entries dropped.")
    id_dropout: float = Setting(default=0.3, ge=0, lt=1, description="Share of items embedded by content alone.")
    recency_half_life: float = Setting(
        default=0.5, gt=0, description="A session is drawn half as often when this share of all sessions is newer."
    )
    check_share: float = Setting(default=0.05, gt=0, lt=0.5, description="Latest sessions kept aside to check on.")
    check_sessions: int = Setting(default=2000, ge=1, description="How many of them are looked at, at most.")
    min_token_items: int = Setting(default=2, ge=1, description="Clicked items a content token has to occur in.")
    max_tokens: int = Setting(default=50_000, ge=0, description="Content tokens kept, the most frequent first.")
    session: SessionSettings = SessionSettings()
    threads: int = Setting(default=1, ge=1, description="Threads of torch. Results are the same only for the same.")


@dataclass(frozen=True, slots=True)
class Step:
    """How far training is. `stage` is `read`, `train` or `check`; `total` is 0 where it is not known.

    `loss` is the mean of the train epoch so far, `mrr` the best check so far, both None before there is one.
    """

    stage: str
    done: int
    total: int
    train_epoch: int = 0
    loss: float | None = None
    mrr: float | None = None


Progress = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """What training made. The figures are those of the sessions kept aside, all items ranked but the last clicked."""

    folder: Path
    version: str
    items: int
    sessions: int
    train_epoch: int
    mrr: float
    hit_rate: float


def train(
    events: Path | Sequence[Path] | Iterable[Event],
    items: Path | Mapping[str, Item] | None,
    settings: TrainingSettings,
    out: Path,
    *,
    seed: int,
    progress: Progress = lambda step: None,
) -> Trained:
    """Train on recorded events (`.jsonl.zst` files, or events) and an items file, and write the artifact to `out`.

    `items` may also be a mapping from item id, or None: ids alone. The same input, settings and seed give the same
    artifact. Raises ArtifactError when there is nothing to learn from, ImportFormatError for a broken file.
    """
    past = histories.from_events(
        _events(events),
        idle_gap_ms=settings.session.idle_gap_ms,
        max_clicks=settings.session.max_events,
        progress=lambda count: progress(Step("read", count, 0)),
    )
    known = dict(read_items(items)) if isinstance(items, Path) else dict(items or {})
    return train_on(past, known, settings, out, seed=seed, progress=progress)


def train_on(
    past: Histories,
    items: Mapping[str, Item],
    settings: TrainingSettings,
    out: Path,
    *,
    seed: int,
    progress: Progress = lambda step: None,
) -> Trained:
    """Train on sessions already built. As `train` otherwise."""
    learn, check = _split(past, settings)
    clicks = np.bincount(learn.items, minlength=len(past.item_ids))
    tower_content = read_content(past.item_ids, items, clicks > 0, settings)
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = TwoTowers(
                tower_content, settings.dim, id_dropout=settings.id_dropout, input_dropout=settings.input_dropout
            )
            best = _fit(model, learn, check, settings, np.random.default_rng(seed), progress)
    finally:
        torch.set_num_threads(threads)
    keys = np.array([item_key(item_id) for item_id in past.item_ids], np.uint64)
    manifest = artifact.save(
        out,
        kind=artifact.SESSION_MODEL,
        dim=settings.dim,
        arrays=model.export(keys, clicks > 0),
        created_from=_provenance(settings, seed, learn, best),
    )
    return Trained(
        folder=out,
        version=manifest.version,
        items=int((clicks > 0).sum()),
        sessions=len(learn),
        train_epoch=best.train_epoch,
        mrr=best.mrr,
        hit_rate=best.hit_rate,
    )


def read_content(
    item_ids: Sequence[str], items: Mapping[str, Item], clicked: NDArray[np.bool_], settings: TrainingSettings
) -> ItemContent:
    """Read the content of the items that were clicked; the vocabulary is made of theirs alone."""
    blank = Item.model_construct(title="")
    known = [items.get(item_id, blank) if was else blank for item_id, was in zip(item_ids, clicked, strict=True)]
    tokens = content.tokens_of(known)
    keys, place, counts = np.unique(tokens.keys, return_inverse=True, return_counts=True)
    frequent = np.flatnonzero(counts >= settings.min_token_items)
    kept = np.sort(frequent[np.argsort(-counts[frequent], kind="stable")][: settings.max_tokens])
    row_of = np.full(len(keys), -1, np.int64)
    row_of[kept] = np.arange(len(kept))
    row = row_of[place]
    used = row >= 0
    owner, fields = tokens.items[used], tokens.fields[used]
    lengths = np.bincount(owner, minlength=len(known))
    image_length = max((len(item.image_vector) for item in known if item.image_vector), default=0)
    images = np.zeros((len(known), image_length), np.float32)
    if image_length:
        with_image, vectors = content.image_rows(known, image_length)
        images[with_image] = vectors
    return ItemContent(
        token_keys=keys[kept],
        tokens=row[used],
        fields=fields,
        weights=content.bag_weights(owner, fields),
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        images=images,
        any_content=(lengths > 0) | np.any(images != 0.0, axis=1),
    )


@dataclass(frozen=True, slots=True)
class _Check:
    train_epoch: int
    mrr: float
    hit_rate: float


def _fit(
    model: TwoTowers,
    learn: Histories,
    check: Histories,
    settings: TrainingSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> _Check:
    """Train the model in place and leave it as it was at its best check."""
    sampler = batches.Sampler.of(
        learn,
        half_life_share=settings.recency_half_life,
        power=settings.negative_power,
        batch_sessions=settings.batch_sessions,
        negatives=settings.negatives,
    )
    adam = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    total = sampler.batches * settings.train_epochs
    best, best_weights, done = _Check(0, -1.0, 0.0), copy.deepcopy(model.state_dict()), 0
    for train_epoch in range(1, settings.train_epochs + 1):
        losses: list[float] = []
        model.train()
        for batch in sampler.epoch(rng):
            for group in adam.param_groups:
                group["lr"] = settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done / total))
            adam.zero_grad(set_to_none=True)
            loss = batch_loss(model, batch, settings.scale)
            loss.backward()
            adam.step()
            losses.append(loss.item())
            done += 1
            progress(Step("train", done, total, train_epoch, float(np.mean(losses)), max(best.mrr, 0.0)))
        now = _look(model, check, train_epoch)
        progress(Step("check", done, total, train_epoch, float(np.mean(losses)), now.mrr))
        if now.mrr > best.mrr:
            best, best_weights = now, copy.deepcopy(model.state_dict())
        elif train_epoch - best.train_epoch >= settings.patience:
            break
    model.load_state_dict(best_weights)
    return best


def batch_loss(model: TwoTowers, batch: batches.Batch, scale: float) -> torch.Tensor:
    """Return the mean cross-entropy of a batch's next clicks.

    The item just clicked is no competitor: it is always the nearest to the state, and pushing it away would push
    away what is like it.
    """
    vectors = model.item_vectors(batch.rows)  # (c, d)
    clicked = F.embedding(torch.from_numpy(batch.clicks), vectors)  # (b, t, d)
    states = model.states(clicked, torch.from_numpy(batch.codes))  # (b, t, d)
    queries = F.normalize(states.flatten(0, 1)[torch.from_numpy(batch.after)], dim=1)  # (p, d)
    logits = torch.addmm(-torch.from_numpy(batch.log_q), queries, vectors.T, alpha=scale)  # (p, c)
    target, last = torch.from_numpy(batch.target), torch.from_numpy(batch.last)
    hidden = torch.where(last == target, 0.0, -torch.inf)[:, None]  # (p, 1)
    return F.cross_entropy(logits.scatter_add(1, last[:, None], hidden), target)


def _look(model: TwoTowers, check: Histories, train_epoch: int) -> _Check:
    """Rank every item but the last clicked, after every click of the sessions kept aside."""
    model.eval()
    ranks: list[NDArray[np.int64]] = []
    targets = check.targets()
    with torch.no_grad():
        items = model.item_vectors(np.arange(len(check.item_ids)))  # (items, d)
        for session in range(len(check)):
            span = slice(int(check.starts[session]), int(check.starts[session + 1]))
            wanted = np.flatnonzero(targets[span])
            rows = torch.from_numpy(check.items[span].astype(np.int64))
            codes = torch.from_numpy(check.codes[span].astype(np.int64))
            states = model.states(items[rows][None], codes[None])[0]  # (t, d)
            scores = F.normalize(states[wanted - 1], dim=1) @ items.T  # (p, items)
            scores[torch.arange(len(wanted)), rows[wanted - 1]] = -torch.inf
            ranks.append(ranks_of_targets(scores.numpy(), check.items[span][wanted]))
    places = np.concatenate(ranks)
    return _Check(train_epoch, mrr(places, K), hit_rate(places, K))


def _split(past: Histories, settings: TrainingSettings) -> tuple[Histories, Histories]:
    """Split off the latest sessions that have something to predict."""
    usable = np.add.reduceat(past.targets(), past.starts[:-1]) > 0 if len(past) else np.zeros(0, np.bool_)
    if int(usable.sum()) < 2:
        raise ArtifactError(
            f"expected at least 2 sessions of 2 clicks or more to train on, got {int(usable.sum())} "
            f"of {len(past)} sessions: record more traffic, or check the idle gap"
        )
    first = max(int(len(past) * (1.0 - settings.check_share)), 1)
    first = min(first, int(np.flatnonzero(usable)[-1]))
    learn = past.pick(np.arange(first))
    if not learn.targets().any():
        raise ArtifactError("expected sessions of 2 clicks or more before the latest ones: record more traffic")
    late = first + np.flatnonzero(usable[first:])
    return learn, past.pick(late[np.linspace(0, len(late) - 1, min(len(late), settings.check_sessions)).astype(int)])


def _events(events: Path | Sequence[Path] | Iterable[Event]) -> Iterable[Event]:
    if isinstance(events, Path):
        yield from read_events(events)
        return
    for one in events:
        if isinstance(one, Path):
            yield from read_events(one)
        else:
            yield one


def _provenance(settings: TrainingSettings, seed: int, learn: Histories, best: _Check) -> dict[str, Any]:
    return {
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "sessions": len(learn),
        "clicks": len(learn.items),
        "last_ms": int(learn.ended_ms[-1]),
        "train_epoch": best.train_epoch,
        f"mrr@{K}": round(best.mrr, 4),
        f"hit_rate@{K}": round(best.hit_rate, 4),
    }
