"""The next-item evaluation: baselines, session model and whole pipeline over one set of cases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from contracts.items import Item
from contracts.outputs import expect_replaceable
from evaluation.baselines import CoVisitation
from evaluation.item_rules import ItemRules, popularity, session_popularity
from evaluation.next_item import DEPTH, Answerer, Answers, Ground, NextItemMetrics, ranks_of, without_seen
from evaluation.next_item import measure as figures_of
from evaluation.session_knn import VMIS_KNN, VS_KNN, SessionKnn
from evaluation.sessions import Cases, Sessions, cases_of
from learning.ablation import without
from learning.next_item import Fold, Frozen, Recall, choose_half_life, replay_and_learn
from learning.session_models import session_model
from learning.settings_file import with_half_life
from learning.stages import Stages
from learning.training_settings import RerankTrainingSettings
from learning.work_folder import Models
from rerank.ranker import RANKER, Ranker
from session_model.training_settings import TrainingSettings

LEARN_SHARE = 0.1
"""A fold's share of the training sessions: the re-ranker learns from the latest, each by a session model of those
before it.
"""
CASES_SEED = 1
"""Draws the cases of --limit-cases: the same ones whatever the models' seed."""
_AT_ONCE = 2048
_SCORED_ROWS = 200
_SCORED_TIMES = 201


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. Where `reranking` does not say the trends' half-life, the one is taken that tells the last
    training sessions best.
    """

    train: Sessions
    test: Sessions
    items: dict[str, Item]
    models: Models
    baselines: bool
    limit_cases: int | None
    without: tuple[str, ...]
    training: TrainingSettings
    reranking: RerankTrainingSettings
    seed: int


@dataclass(frozen=True, slots=True)
class Row:
    """One model: figures over all cases, and over those whose target is new to its session, with what the session
    clicked left out of the answers too; seconds to train and to ask.
    """

    name: str
    all: NextItemMetrics
    new: NextItemMetrics
    seconds: tuple[float, float]


def run(plan: Plan, stages: Stages) -> tuple[list[Row], dict[str, Any]]:
    """Return a row a model, and what else was found."""
    without(plan.reranking, plan.without)  # a name that is none is told before anything is trained
    expect_replaceable(plan.models.ranker, RANKER)
    cases = cases_of(plan.test)
    if plan.limit_cases is not None:
        cases = cases.sample(plan.limit_cases, np.random.default_rng(CASES_SEED))
    ground = Ground(plan.train, np.random.default_rng(plan.seed))
    compared = _Comparison(cases, ground, plan.seed, stages)
    if plan.baselines:
        for name, learn in _baselines(plan.train):
            compared.measure(name, learn)
    facts = _models(plan, cases, compared, stages)
    known = float(np.isin(cases.targets, plan.train.items).mean())
    return compared.rows, {**facts, "known_targets": known, "seconds": stages.seconds}


@dataclass(slots=True)
class _Comparison:
    """Measures models on the same cases. Mutable: `rows` grows."""

    cases: Cases
    ground: Ground
    seed: int
    stages: Stages
    rows: list[Row] = field(default_factory=list)

    def measure(self, name: str, learn: Callable[[], Answerer], trained_s: float = 0.0) -> None:
        begun = time.perf_counter()
        with self.stages.stage(name) as shown:
            answer = learn()
            asked = time.perf_counter()
            parts: list[Answers] = []
            for at in range(0, len(self.cases), _AT_ONCE):
                parts.append(answer(self.cases.pick(np.arange(at, min(at + _AT_ONCE, len(self.cases))))))
                shown.show(at, len(self.cases))
        answers = np.concatenate(parts)
        seconds = (trained_s + asked - begun, time.perf_counter() - asked)
        new = np.flatnonzero(~self.cases.repeated)
        fresh = self.cases.pick(new)
        unseen = without_seen(answers[new], fresh)
        self.rows.append(Row(name, self._figures(self.cases, answers), self._figures(fresh, unseen), seconds))

    def _figures(self, cases: Cases, answers: Answers) -> NextItemMetrics:
        return figures_of(ranks_of(answers, cases.targets), cases, answers, self.ground, seed=self.seed)


def _baselines(train: Sessions) -> Iterator[tuple[str, Callable[[], Answerer]]]:
    yield "popularity", lambda: popularity(train, DEPTH)
    yield "session popularity", lambda: session_popularity(train, DEPTH)
    yield "co-visitation", lambda: _co_visitation(train)
    yield "association rules", lambda: _rules(ItemRules.association(train, kept=DEPTH))
    yield "sequential rules", lambda: _rules(ItemRules.sequential(train, kept=DEPTH))
    yield "VS-kNN", lambda: _knn(SessionKnn(train, VS_KNN))
    yield "VMIS-kNN", lambda: _knn(SessionKnn(train, VMIS_KNN))


def _rules(rules: ItemRules) -> Answerer:
    return lambda cases: rules.answer(cases, DEPTH)


def _knn(knn: SessionKnn) -> Answerer:
    return lambda cases: knn.answer(cases, DEPTH)


def _co_visitation(train: Sessions) -> Answerer:
    """The streaming baseline, without decay: the sessions' own times may not be known."""
    baseline = CoVisitation(float("inf"))
    owners, items = train.owners.tolist(), train.items.tolist()
    for session, item in zip(owners, items, strict=True):
        baseline.learn(str(session), str(item), 0)

    def answer(cases: Cases) -> Answers:
        found = np.full((len(cases), DEPTH), -1, np.int32)
        for at in range(len(cases)):
            told = baseline.predict([str(item) for item in cases.prefix(at).tolist()], 0, DEPTH)
            found[at, : len(told)] = [int(item) for item in told]
        return found

    return answer


def _models(plan: Plan, cases: Cases, compared: _Comparison, stages: Stages) -> dict[str, Any]:
    """Train session model and pipeline on the training sessions alone, measure both, return the pipeline's facts."""
    folds = [_fold(plan, back, stages) for back in range(plan.reranking.folds, 0, -1)]
    with stages.stage("session model") as shown:
        towers = session_model(plan.train, plan.items, plan.models, ".", shown, seed=plan.seed, training=plan.training)
    told = "half_life" in plan.reranking.trend.model_fields_set
    half_life = plan.reranking.trend.half_life if told else choose_half_life(plan.train)
    settings = with_half_life(plan.reranking, half_life).model_copy(update={"repeats": True})
    settings, ablation = without(settings, plan.without)
    plan.models.place()
    with stages.stage("re-ranker") as shown:
        past, trained = replay_and_learn(
            plan.train,
            folds,
            plan.items,
            settings,
            plan.models.ranker,
            seed=plan.seed,
            frozen=True,
            ablation=ablation,
            progress=shown.step,
        )
    ranker = Ranker.load(plan.models.ranker)
    with stages.stage("catalogue and index"):
        exact, serving = (
            Frozen.of(past, towers, plan.train.item_ids, plan.items, ranker, exact_up_to=exact_up_to, ablation=ablation)
            for exact_up_to in (len(plan.train.item_ids), 0)
        )
    spent = stages.seconds
    compared.measure("session encoder, exact", lambda: lambda some: exact.nearest(some, DEPTH), spent["session model"])
    compared.measure(
        "session encoder, usearch", lambda: lambda some: serving.nearest(some, DEPTH), spent["session model"]
    )
    recall, recall_new = Recall(), Recall()
    compared.measure(
        "full pipeline",
        lambda: lambda some: serving.answer(some, DEPTH, recall=recall),
        spent["session model"] + spent["re-ranker"],
    )
    new = cases.pick(np.flatnonzero(~cases.repeated))
    with stages.stage("candidates of new items"):
        serving.answer(new.sample(5000, np.random.default_rng(plan.seed)), DEPTH, recall=recall_new)
    return {
        "half_life_hours": half_life.total_seconds() / 3600,
        "trees": trained.trees,
        "groups": trained.groups,
        "gains": trained.gains,
        **({"context": trained.context, "left_out": trained.left_out} if settings.context else {}),
        "score_us": _score_us(ranker),
        "candidates": recall.candidates / max(1, recall.cases),
        "recall": recall.shares(),
        "recall_new": recall_new.shares(),
    }


def _fold(plan: Plan, back: int, stages: Stages) -> Fold:
    """Return the fold so many from the end, with a session model trained on what came before it."""
    begin = int(len(plan.train) * (1.0 - LEARN_SHARE * back))
    name = "earlier" if back == 1 else f"earlier-{back}"
    with stages.stage(f"session model on {begin:,} earlier sessions, for the re-ranker") as shown:
        sessions = plan.train.part(0, begin)
        towers = session_model(sessions, plan.items, plan.models, name, shown, seed=plan.seed, training=plan.training)
    return Fold(begin, towers)


def _score_us(ranker: Ranker) -> float:
    """Return the median microseconds that the trees take for 200 rows, as a request with that many candidates would."""
    rows = np.random.default_rng(0).standard_normal((_SCORED_ROWS, len(ranker.features)), np.float32)
    spent = []
    for _ in range(_SCORED_TIMES):
        begun = time.perf_counter()
        ranker.rank_scores(rows)
        spent.append(time.perf_counter() - begun)
    return float(np.median(spent)) * 1e6
