"""Training the re-ranker: a recorded log in, an artifact folder out.

The log is replayed through what serves (see `learning.replay`). Its first part only fills the counters; next clicks of
the rest are the groups; the latest of them are kept aside and decide how many trees are right. So many are then learnt
from all groups, the latest included: they are the ones that are most like what comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
import xgboost as xgb

from contracts.errors import ArtifactError, ImportFormatError
from contracts.events import Event
from contracts.ids import event_key
from contracts.outputs import expect_replaceable
from evaluation.metrics import PLACES
from eventlog.files import read_events, read_header, read_raw
from eventlog.item_tables import ItemTable, of_table
from learning.groups import Float32s, Groups, RankingMetrics, rank_of
from learning.replay import RankingGroup, Towers, TrainingReplay
from learning.training_settings import RerankTrainingSettings
from rerank.drift import SCORE, Baseline
from rerank.features import FEATURES, Parts
from rerank.ranker import RANKER, Ranker
from retrieval.trends import TrendRules
from session_model.artifact import SESSION_MODEL
from session_model.encoder import SessionEncoder
from session_model.item_tower import ItemTower

MIN_GROUPS = 20
_NEXT_CLICKS = 0.5
"""About this share of all events continues a session."""
_PROGRESS_EVERY = 1000
_ROWS_OF_A_GROUP = 8
"""Candidates of a group that the baseline of drift is made of."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far training is. `stage` is `replay` (events), `train` (trees) or `train on all`; `ndcg` is of a check."""

    stage: str
    done: int
    total: int
    ndcg: float | None = None


Progress = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class TrainedReranker:
    """What training made. `recall` is the share of the clicks kept aside that were among the candidates. The metrics
    are those of trees that had not learnt from these clicks.
    """

    folder: Path
    version: str
    groups: int
    checked: int
    trees: int
    candidates: float
    recall: float
    retrieval_order: RankingMetrics
    reranked: RankingMetrics
    gains: dict[str, float]
    context: tuple[str, ...] = ()
    """Parts of the context that are among its features."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Parts that were asked for, and what the recording lacks for them."""


def train_reranker(
    events: Path | Sequence[Path] | Sequence[Event],
    items: Path | ItemTable | None,
    artifacts: Path,
    out: Path,
    settings: RerankTrainingSettings | None = None,
    *,
    seed: int,
    progress: Progress = lambda step: None,
) -> TrainedReranker:
    """Train on recorded events (`.jsonl.zst` files, oldest first, or events in time order), and write the folder `out`.

    `items` is an items file; what it does not name is created bare at its first click. `artifacts` holds the session
    model that will serve; without one the re-ranker learns from co-visitation and trends alone. A session model looks
    better on clicks that it was trained on than it will on new ones: give a log that is later than its training, and it
    is trusted as much as it deserves. The same input, settings and seed give the same trees. Raises ArtifactError when
    there is too little to learn from.
    """
    settings = settings or RerankTrainingSettings()
    towers = load_towers(artifacts)
    total = _count(events)
    span = Span.of(total, settings)
    replay = replay_of(towers, settings)
    groups = _replayed(events, items, replay, span, seed, progress)
    return learn_from(groups, span, replay, out, settings, seed=seed, progress=progress)


def replay_of(
    towers: Towers, settings: RerankTrainingSettings, *, repeats: bool = False, frozen: bool = False
) -> TrainingReplay:
    """Return the replay of a training: it learns the parts of the context that the settings ask for."""
    rules = TrendRules.of(settings.trend)
    return TrainingReplay(
        towers,
        settings.session,
        settings.pipeline,
        rules,
        settings.refresh_events,
        repeats=repeats,
        frozen=frozen,
        learns=settings.context,
    )


def learn_from(
    groups: Iterable[RankingGroup],
    span: Span,
    replay: TrainingReplay,
    out: Path,
    settings: RerankTrainingSettings,
    *,
    seed: int,
    progress: Progress = lambda step: None,
) -> TrainedReranker:
    """Train on groups, those from `span.check_from` on kept aside, and write the folder `out`. As `train_reranker`.

    `replay` is what makes the groups: its parts and its towers are known once they have been read.
    """
    expect_replaceable(out, RANKER)
    learn, late, check, learnt_from = Groups(), Groups(), Groups(), list[Float32s]()
    for group in groups:
        learnt_from.append(_drawn_rows(group, seed))
        aside = group.number >= span.check_from
        (late if aside else learn).add(group, np.random.default_rng([seed, group.event]), settings.negatives)
        if aside:
            check.add(group, None)
    model_version, parts = replay.towers.version, replay.parts
    for one in (learn, late, check):
        one.parts = parts
    if min(len(learn.sizes), len(check.sizes)) < MIN_GROUPS:
        raise ArtifactError(
            f"expected at least {MIN_GROUPS} next clicks among their candidates to learn from, and to check on, got "
            f"{len(learn.sizes)} and {len(check.sizes)} of {span.total} events: record more traffic"
        )
    checked = fit(learn, settings, seed, progress, check)
    learn.extend(late)
    booster = fit(learn, settings.model_copy(update={"trees": checked.num_boosted_rounds()}), seed, progress)
    ranker = Ranker(booster, model_version=model_version, parts=parts, baseline=_baseline(booster, learnt_from, parts))
    judged = Ranker(checked, model_version=model_version, parts=parts)
    trained = _report(judged, booster, out, learn, check, replay.left_out)
    notes = {name: value for name, value in asdict(trained).items() if name not in ("folder", "version")}
    ranker.save(out, notes={"settings": settings.model_dump(mode="json"), "seed": seed, "events": span.total, **notes})
    return replace(trained, version=Ranker.load(out).version)


def _drawn_rows(group: RankingGroup, seed: int) -> Float32s:
    """Return a few of a group's candidates, drawn at random: what an answer ranks, clicked or not. (at most 8, f)"""
    rng = np.random.default_rng([seed, group.event, 1])
    return group.rows[rng.choice(len(group.rows), min(len(group.rows), _ROWS_OF_A_GROUP), replace=False)]


def _baseline(booster: xgb.Booster, drawn: Sequence[Float32s], parts: Parts) -> Baseline:
    """Return what features and scores are like on drawn rows."""
    rows = np.concatenate(drawn)
    scores = Ranker(booster, model_version=0, parts=parts).rank_scores(rows)
    return Baseline.of((*FEATURES, *parts.features, SCORE), np.column_stack([rows, scores]))


def load_towers(artifacts: Path) -> Towers:
    """Load the session model of an artifacts folder; none if it has none. Raises ArtifactError for a damaged one."""
    folder = artifacts / SESSION_MODEL
    if not folder.exists():
        return Towers()
    return Towers(SessionEncoder.load(folder), ItemTower.load(folder))


@dataclass(frozen=True, slots=True)
class Span:
    """Which events of the log are for what."""

    total: int
    learn_from: int
    check_from: int
    drawn: float
    """Share of the next clicks that become groups."""

    @classmethod
    def of(cls, total: int, settings: RerankTrainingSettings) -> Span:
        return cls.between(total, int(total * settings.warm_up), settings)

    @classmethod
    def between(cls, total: int, learn_from: int, settings: RerankTrainingSettings) -> Span:
        """Learn from event `learn_from` on, whatever the warm-up."""
        check_from = total - int((total - learn_from) * settings.check_share)
        drawn = settings.groups / max(1.0, _NEXT_CLICKS * (total - learn_from))
        return cls(total, learn_from, check_from, min(1.0, drawn))

    def asks(self, number: int, event: Event, seed: int) -> bool:
        """Draw by the event's own key, so that no draw depends on what else is in the log."""
        key = event_key(f"{seed}:{event.event_id}")
        return number >= self.learn_from and key < self.drawn * 2.0**64


def _replayed(
    events: Path | Sequence[Path] | Sequence[Event],
    items: Path | ItemTable | None,
    replay: TrainingReplay,
    span: Span,
    seed: int,
    progress: Progress,
) -> Iterator[RankingGroup]:
    read = _watched(_read(events), span.total, progress)
    first = next(read, None)
    if first is None:
        return
    if items is not None:
        replay.add_items([(item_id, item, first.ts) for item_id, item in of_table(items).read()])
    yield from replay.groups(
        chain([first], read), lambda number, event: span.asks(number, event, seed), asked_from=span.learn_from
    )


def boosting(settings: RerankTrainingSettings, seed: int) -> dict[str, str | int | float]:
    """Return what XGBoost is told: objective, check, size and pace of the trees."""
    return {
        "objective": "rank:ndcg",
        "lambdarank_pair_method": "topk",
        "lambdarank_num_pair_per_sample": settings.top,
        "eval_metric": f"ndcg@{PLACES}",
        "max_depth": settings.depth,
        "learning_rate": settings.learning_rate,
        "min_child_weight": settings.min_child_weight,
        "reg_lambda": settings.l2,
        "tree_method": "hist",
        "seed": seed,
        "nthread": settings.threads,
        "verbosity": 0,
    }


def fit(
    learn: Groups,
    settings: RerankTrainingSettings,
    seed: int,
    progress: Progress = lambda step: None,
    check: Groups | None = None,
) -> xgb.Booster:
    """Return the trees; with `check`, those up to the best check."""
    stopping = xgb.callback.EarlyStopping(rounds=settings.patience, save_best=True)
    return xgb.train(
        boosting(settings, seed),
        learn.matrix(settings.threads, settings.new_weight),
        settings.trees,
        evals=[(check.matrix(settings.threads), "check")] if check is not None else [],
        callbacks=[*([stopping] if check is not None else []), _Shown(settings.trees, progress)],
        verbose_eval=False,
    )


class _Shown(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Hands each tree's check to `progress`."""

    def __init__(self, trees: int, progress: Progress) -> None:
        super().__init__()
        self._trees, self._progress = trees, progress

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: dict[str, dict[str, list[float]]]) -> bool:
        checks = [values[-1] for values in evals_log.get("check", {}).values()]
        stage, ndcg = ("train", checks[0]) if checks else ("train on all", None)
        self._progress(Step(stage, epoch + 1, self._trees, ndcg))
        return False


def _report(
    ranker: Ranker, booster: xgb.Booster, out: Path, learn: Groups, check: Groups, left_out: dict[str, str]
) -> TrainedReranker:
    ranks = [rank_of(ranker.rank_scores(rows), target) for rows, target in zip(check.rows, check.targets, strict=True)]
    gains = booster.get_score(importance_type="total_gain")
    whole = sum(gains.values()) or 1.0
    return TrainedReranker(
        folder=out,
        version=ranker.version,
        groups=len(learn.sizes),
        checked=check.asked,
        trees=booster.num_boosted_rounds(),
        candidates=check.candidates / max(1, check.asked),
        recall=len(check.sizes) / max(1, check.asked),
        retrieval_order=check.metrics(check.retrieval_ranks),
        reranked=check.metrics(ranks),
        gains={name: round(gain / whole, 4) for name, gain in sorted(gains.items(), key=lambda one: -one[1])},
        context=ranker.parts.names,
        left_out=left_out,
    )


def _read(events: Path | Sequence[Path] | Sequence[Event]) -> Iterator[Event]:
    if isinstance(events, Path):
        yield from read_events(events)
        return
    for one in events:
        if isinstance(one, Path):
            yield from read_events(one)
        else:
            yield one


def _watched(events: Iterator[Event], total: int, progress: Progress) -> Iterator[Event]:
    for number, event in enumerate(events):
        if number % _PROGRESS_EVERY == 0:
            progress(Step("replay", number, total))
        yield event
    progress(Step("replay", total, total))


def _count(events: Path | Sequence[Path] | Sequence[Event]) -> int:
    paths = [events] if isinstance(events, Path) else [one for one in events if isinstance(one, Path)]
    if not paths:
        return len(events) if not isinstance(events, Path) else 0
    return sum(_count_file(path) for path in paths)


def _count_file(path: Path) -> int:
    """Return a log's events: what its header says, or by reading it when it has none."""
    try:
        return read_header(path).events
    except ImportFormatError:
        return sum(1 for _ in read_raw(path))
