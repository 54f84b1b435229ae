"""The training loop: batches in, a fitted model. See `training` for the whole."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from evaluation.metrics import PLACES, hit_rate, mrr, ranks_of_targets
from session_model.batches import Batch, Sampler
from session_model.histories import Histories
from session_model.model import TwoTowers
from session_model.neighbours import Neighbours
from session_model.training_settings import Progress, Step, TrainingSettings

SETTLE_EPOCHS = 1


@dataclass(frozen=True, slots=True)
class Check:
    """How well the sessions kept aside were told after a train epoch: MRR and hit rate at PLACES."""

    train_epoch: int
    mrr: float
    hit_rate: float


def fit(
    model: TwoTowers,
    learn: Histories,
    check: Histories,
    whole: Histories,
    settings: TrainingSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Check:
    """Train the model in place: on `learn` up to its best check, then one gentler pass over the `whole`.

    That last pass also takes in the sessions kept aside, and draws the newest sessions most: what is new is learnt
    too, and what has changed counts as it is now. Nothing is left to check it on; docs/trials/model.md has what
    it brought on later traffic. Returns the best check.
    """
    model.neighbours = _neighbours(learn, settings)
    sampler = _sampler(learn, settings, settings.recency_half_life)
    last = _sampler(whole, settings, settings.settle_half_life)
    learning = sampler.batches * settings.train_epochs
    steps = _Steps(model, settings.scale, progress, learning + last.batches * SETTLE_EPOCHS)
    adam = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    best, best_weights = Check(0, -1.0, 0.0), copy.deepcopy(model.state_dict())
    for train_epoch in range(1, settings.train_epochs + 1):
        begun = (train_epoch - 1) * sampler.batches
        rates = _cosine(settings.learning_rate, begun, learning)
        loss = steps.take("train", sampler.epoch(rng), adam, rates, train_epoch, best)
        now = _look(model, check, train_epoch)
        progress(Step("check", steps.done, steps.total, train_epoch, loss, now.mrr))
        if now.mrr > best.mrr:
            best, best_weights = now, copy.deepcopy(model.state_dict())
        elif train_epoch - best.train_epoch >= settings.patience:
            break
    model.load_state_dict(best_weights)
    model.neighbours = _neighbours(whole, settings)
    steps.done = learning
    adam = torch.optim.Adam(model.parameters(), fused=True)
    for settling in range(SETTLE_EPOCHS):
        rates = _cosine(
            settings.learning_rate * settings.settle_rate, settling * last.batches, last.batches * SETTLE_EPOCHS
        )
        steps.take("settle", last.epoch(rng), adam, rates, best.train_epoch, best)
    return best


def batch_loss(model: TwoTowers, batch: Batch, scale: float) -> torch.Tensor:
    """Return the mean cross-entropy of a batch's next clicks.

    The item just clicked is no competitor: it is always the nearest to the state, and pushing it away would push
    away what is like it.
    """
    vectors = model.item_vectors(batch.rows)  # (c, d)
    clicked = F.embedding(torch.from_numpy(batch.clicks), vectors)  # (b, t, d)
    states = model.states(clicked, torch.from_numpy(batch.codes))  # (b, t, width)
    queries = model.queries(states.flatten(0, 1)[torch.from_numpy(batch.after)])  # (p, d)
    logits = torch.addmm(-torch.from_numpy(batch.log_q), queries, vectors.T, alpha=scale)  # (p, c)
    target, last = torch.from_numpy(batch.target), torch.from_numpy(batch.last)
    hidden = torch.where(last == target, 0.0, -torch.inf)[:, None]  # (p, 1)
    logits = logits.scatter_add(1, last[:, None], hidden)
    if len(batch.passed_rows):
        logits = torch.cat([logits, _passed_over(model, batch, queries, scale)], dim=1)  # (p, c + h)
    return F.cross_entropy(logits, target)


def _passed_over(model: TwoTowers, batch: Batch, queries: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the logits (p, h) of what each click's page showed above it; they were there for sure: no correction."""
    vectors = model.item_vectors(batch.passed_rows)  # (e, d)
    passed = torch.from_numpy(batch.passed)  # (p, h)
    logits = scale * torch.einsum("pd,phd->ph", queries, F.embedding(passed.clamp(min=0), vectors))
    return logits.masked_fill(passed < 0, -torch.inf)


@dataclass(slots=True)
class _Steps:
    """Takes optimiser steps and tells of them. Mutable: `done` counts the steps."""

    model: TwoTowers
    scale: float
    progress: Progress
    total: int
    done: int = 0

    def take(
        self,
        stage: str,
        epoch: Iterator[Batch],
        adam: torch.optim.Adam,
        rates: Iterator[float],
        train_epoch: int,
        best: Check,
    ) -> float:
        """Take one pass of steps; returns the mean loss."""
        self.model.train()
        whole, count = 0.0, 0
        for batch, rate in zip(epoch, rates, strict=False):
            for group in adam.param_groups:
                group["lr"] = rate
            adam.zero_grad(set_to_none=True)
            loss = batch_loss(self.model, batch, self.scale)
            loss.backward()
            adam.step()
            whole, count, self.done = whole + loss.item(), count + 1, self.done + 1
            self.progress(Step(stage, self.done, self.total, train_epoch, whole / count, max(best.mrr, 0.0)))
        return whole / max(count, 1)


def _neighbours(histories: Histories, settings: TrainingSettings) -> Neighbours | None:
    if not settings.neighbours:
        return None
    return Neighbours.of(histories, settings.neighbours, half_life_share=settings.recency_half_life)


def _sampler(histories: Histories, settings: TrainingSettings, half_life_share: float) -> Sampler:
    return Sampler.of(
        histories,
        half_life_share=half_life_share,
        power=settings.negative_power,
        batch_sessions=settings.batch_sessions,
        negatives=settings.negatives,
        passed=settings.passed_over,
    )


def _cosine(rate: float, begun: int, total: int) -> Iterator[float]:
    """Yield the learning rates from step `begun` on: from `rate` down to 0 by half a cosine."""
    for step in range(begun, total):
        yield rate * 0.5 * (1.0 + math.cos(math.pi * step / total))


def _look(model: TwoTowers, check: Histories, train_epoch: int) -> Check:
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
            states = model.states(items[rows][None], codes[None])[0]  # (t, width)
            scores = model.queries(states[wanted - 1]) @ items.T  # (p, items)
            scores[torch.arange(len(wanted)), rows[wanted - 1]] = -torch.inf
            ranks.append(ranks_of_targets(scores.numpy(), check.items[span][wanted]))
    places = np.concatenate(ranks)
    return Check(train_epoch, mrr(places, PLACES), hit_rate(places, PLACES))
