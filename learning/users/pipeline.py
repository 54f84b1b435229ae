"""The session pipeline at the moments of the evaluation: what serves without any user model, replayed as it would."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.events import Event
from contracts.items import Item
from evaluation.next_item import Answers
from evaluation.sessions import Longs
from learning.next_item import Fold, replay_and_learn
from learning.replay import Towers, TrainingReplay
from learning.session_models import session_model
from learning.stages import Stages
from learning.training_settings import RerankTrainingSettings
from learning.users.visits import Visits, learnt_sessions
from learning.work_folder import Models
from rerank.order import positions_by_score
from rerank.ranker import Ranker
from retrieval.trends import TrendRules
from session_model.training_settings import TrainingSettings

LEARN_SHARE = 0.5
"""The latest share of the training sessions: the re-ranker learns from it, by a session model that has not."""


@dataclass(frozen=True, slots=True)
class SessionSide:
    """What serves from a moment on, trained on the sessions that ended before it."""

    towers: Towers
    ranker: Ranker
    settings: RerankTrainingSettings


def learn_session_side(
    visits: Visits,
    items: dict[str, Item],
    to_ms: int,
    models: Models,
    training: TrainingSettings,
    reranking: RerankTrainingSettings,
    stages: Stages,
    *,
    seed: int,
) -> SessionSide:
    """Train session model and re-ranker on what ended before `to_ms`; session models are kept in `models`."""
    learnt = learnt_sessions(visits, to_ms)
    cut = int(len(learnt) * (1.0 - LEARN_SHARE))
    with stages.stage("session model on earlier sessions, for the re-ranker") as shown:
        earlier = session_model(learnt.part(0, cut), items, models, "earlier", shown, seed=seed, training=training)
    with stages.stage("session model") as shown:
        towers = session_model(learnt, items, models, ".", shown, seed=seed, training=training)
    models.place()
    with stages.stage("re-ranker") as shown:
        folds = [Fold(cut, earlier)]
        replay_and_learn(learnt, folds, items, reranking, models.ranker, seed=seed, progress=shown.step)
    return SessionSide(towers, Ranker.load(models.ranker), reranking)


def pipeline_lists(
    events: Iterable[Event],
    visits: Visits,
    items: dict[str, Item],
    side: SessionSide,
    numbers: Longs,
    k: int,
    show: Callable[[int], None],
) -> tuple[Answers, NDArray[np.bool_]]:
    """Replay a log and return the pipeline's lists (c, k) before the clicks `numbers` (c,), and which of these were
    asked for: a click that the window refuses is not.
    """
    settings = side.settings
    rules = TrendRules.of(settings.trend)
    replay = TrainingReplay(
        side.towers,
        settings.session,
        settings.pipeline,
        rules,
        settings.refresh_events,
        arrivals=True,
        parts=side.ranker.parts,
    )
    if items:
        began_ms = int(visits.sessions.ts_ms.min())
        replay.add_items([(item_id, item, began_ms) for item_id, item in items.items()])
    case_of = {number: at for at, number in enumerate(numbers.tolist())}
    place_of = {item_id: at for at, item_id in enumerate(visits.sessions.item_ids)}
    answers, asked_for = np.full((len(numbers), k), -1, np.int32), np.zeros(len(numbers), np.bool_)
    asked_from = int(numbers.min(initial=0))
    last = int(numbers.max(initial=0))
    batches = replay.batches(_until(events, last, show), lambda number, _: number in case_of, asked_from)
    for asked in batches:
        candidates = asked.candidates
        order = positions_by_score(candidates, side.ranker.rank_scores(asked.rows))
        for at, number in enumerate(asked.numbers):
            best = order[int(candidates.starts[at]) : int(candidates.starts[at + 1])]
            found = [place_of.get(replay.catalogue.item_ids[row], -1) for row in candidates.rows[best].tolist()]
            kept = [place for place in found if place >= 0][:k]
            case = case_of[number]
            answers[case, : len(kept)], asked_for[case] = kept, True
    return answers, asked_for


def _until(events: Iterable[Event], last: int, show: Callable[[int], None]) -> Iterable[Event]:
    for number, event in enumerate(events):
        if number > last:
            return
        if number % 1000 == 0:
            show(number)
        yield event
