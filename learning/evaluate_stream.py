"""The stream evaluation, composed: models trained on the hours before, then the whole log, click by click."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import SettingsError
from contracts.items import Item
from contracts.outputs import expect_replaceable
from contracts.settings import SessionSettings
from evaluation.baselines import CoVisitation, RecentPopularity
from evaluation.metrics import hit_rate, mrr
from evaluation.sessions import Sessions
from evaluation.stream_knn import StreamKnn
from eventlog.files import read_events
from learning.ablation import without
from learning.next_item import Fold, read_log, replay_and_learn
from learning.replay import TrainingReplay
from learning.session_models import session_model
from learning.stages import Stages
from learning.stream import HOUR_MS, STREAM_PLACES, Model, StreamFound, StreamOptions
from learning.stream import stream as streamed
from learning.training_settings import RerankTrainingSettings
from learning.work_folder import Models
from rerank.ranker import RANKER, Ranker
from retrieval.trends import TrendRules
from session_model.training_settings import TrainingSettings

REFRESH_EVENTS = 32
"""Clicks between two updates of the columns: seconds of traffic, as the flows' own delay."""
LEARN_SHARE = 0.5
"""The latest share of the sessions before the start: the re-ranker learns from it, by a session model that has not.
Of two days it is one, every hour of it; a quarter would be an afternoon and a night."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What to measure; see the command's options."""

    events: Path
    items: dict[str, Item]
    models: Models
    from_hour: int
    to_hour: int | None
    retrain_hours: float
    reranking: RerankTrainingSettings
    without: tuple[str, ...]
    training: TrainingSettings
    seed: int
    share: float = 1.0


def run_stream(plan: StreamPlan, stages: Stages) -> tuple[StreamFound, dict[str, Any]]:
    """Train on the hours before the start and stream the rest; returns the cases and what else was found."""
    expect_replaceable(plan.models.ranker, RANKER)
    with stages.stage("reading"):
        every = read_log([plan.events], SessionSettings(), with_context=bool(plan.reranking.context))
    from_ms, to_ms = _span(plan, every)
    before = _between(every, 0, from_ms)
    settings, ablation = without(plan.reranking.model_copy(update={"refresh_events": REFRESH_EVENTS}), plan.without)
    cut = int(len(before) * (1.0 - LEARN_SHARE))
    with stages.stage("session model on earlier sessions, for the re-ranker") as shown:
        earlier = session_model(
            before.part(0, cut),
            plan.items,
            plan.models,
            "earlier",
            shown,
            seed=plan.seed,
            training=plan.training,
        )
    plan.models.place()
    with stages.stage("re-ranker") as shown:
        _, trained = replay_and_learn(
            before,
            [Fold(cut, earlier)],
            plan.items,
            settings,
            plan.models.ranker,
            seed=plan.seed,
            ablation=ablation,
            progress=shown.step,
        )
    ranker = Ranker.load(plan.models.ranker)
    rules = TrendRules.of(settings.trend)
    replay = TrainingReplay(earlier, settings.session, settings.pipeline, rules, REFRESH_EVENTS, parts=ranker.parts)
    if plan.items:
        replay.add_items([(item_id, item, int(every.ts_ms.min())) for item_id, item in plan.items.items()])
    asked_from = int(np.count_nonzero(every.ts_ms < from_ms))
    with stages.stage("stream") as shown:
        found = streamed(
            read_events(plan.events),
            replay,
            _models(plan, every, from_ms, to_ms, ranker, stages),
            (RecentPopularity(), CoVisitation(), StreamKnn()),
            StreamOptions(asked_from, from_ms, to_ms, share=plan.share, seed=plan.seed),
            ablation=ablation,
            progress=lambda done: shown.show(done, len(every.items)),
        )
    if not found.hours:
        raise SettingsError(
            f"expected clicks that continue a session from hour {plan.from_hour} on, got none among those drawn by "
            f"--share {plan.share:g}: ask for a larger share, or for more hours"
        )
    facts = {"trees": trained.trees, "groups": trained.groups, "gains": trained.gains, "seconds": stages.seconds}
    if settings.context:
        facts |= {"context": trained.context, "left_out": trained.left_out}
    asked = {name: getattr(plan, name) for name in ("from_hour", "to_hour", "share", "without")}
    return found, {**facts, **asked}


def _span(plan: StreamPlan, every: Sessions) -> tuple[int, int]:
    """Return what to ask for, from and to, half open, epoch ms. Raises SettingsError where nothing is before it or in
    it.
    """
    began_ms, last_ms = int(every.ts_ms.min()), int(every.ts_ms.max())
    from_ms = began_ms + plan.from_hour * HOUR_MS
    to_ms = last_ms + 1 if plan.to_hour is None else began_ms + plan.to_hour * HOUR_MS
    before = len(_between(every, 0, from_ms))
    if not before or from_ms >= to_ms:
        end = "the end" if plan.to_hour is None else plan.to_hour
        raise SettingsError(
            f"expected sessions before --from-hour {plan.from_hour} to train on, and clicks between it and --to-hour, "
            f"got {before} sessions, --to-hour {end} and a log of {(last_ms - began_ms) / HOUR_MS:.1f} hours: "
            "choose other hours"
        )
    return from_ms, to_ms


def _models(
    plan: StreamPlan, every: Sessions, from_ms: int, to_ms: int, ranker: Ranker, stages: Stages
) -> Iterator[Model]:
    """Yield a session model for the start, and another whenever it is due, trained on what has ended by then."""
    at_ms = from_ms
    while at_ms < to_ms:
        learnt = _between(every, 0, at_ms)
        hour = round((at_ms - int(every.ts_ms.min())) / HOUR_MS)
        with stages.stage(f"session model of hour {hour}") as shown:
            towers = session_model(
                learnt, plan.items, plan.models, f"hour-{hour}", shown, seed=plan.seed, training=plan.training
            )
        yield Model(at_ms, towers, ranker)
        if not plan.retrain_hours:
            return
        at_ms += int(plan.retrain_hours * HOUR_MS)


def _between(every: Sessions, from_ms: int, to_ms: int) -> Sessions:
    """Return the sessions that ended in a span of time."""
    ended_ms = every.ts_ms[every.starts[1:] - 1]
    begin, end = np.searchsorted(ended_ms, (from_ms, to_ms)).tolist()
    return every.part(begin, end)


def figures_of(found: StreamFound) -> dict[str, Any]:
    """Return HR and MRR at 10 by model: overall, of new items, by day, by hour."""
    hours, new, ranks = found.columns()
    told = np.unique(hours).tolist()
    return {
        "cases": len(hours),
        "new_cases": int(new.sum()),
        "hours": told,
        "models": {
            name: {
                "all": _pair(places),
                "new": _pair(places[new]),
                "by_day": {str(day): _pair(places[hours // 24 == day]) for day in np.unique(hours // 24).tolist()},
                "by_hour": [_pair(places[hours == hour]) for hour in told],
            }
            for name, places in ranks.items()
        },
    }


def _pair(places: NDArray[np.int64]) -> dict[str, float]:
    return {"hit_rate": hit_rate(places, STREAM_PLACES), "mrr": mrr(places, STREAM_PLACES)}
