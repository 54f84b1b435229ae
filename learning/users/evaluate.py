"""The evaluation of user models, composed: models of the days before, weights chosen on the visits that follow, and
judged on the visits after those.

A user model is a list of items beside the session pipeline's. What its list weighs is chosen on earlier moments than
those that are judged, apart for arrivals (no click of the visit yet) and later clicks. Weight 0 leaves it off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import SettingsError
from contracts.events import Event
from contracts.ids import event_key
from contracts.items import Item
from contracts.outputs import expect_replaceable
from evaluation.next_item import Answers
from evaluation.splits import DAY_MS
from eventlog.files import read_events
from learning.stages import Stages
from learning.training_settings import RerankTrainingSettings
from learning.users.catalogue_side import ItemSide
from learning.users.fusion import WEIGHTS, best_items, fuse
from learning.users.judge import GAINS, Bench, Judged, recall
from learning.users.known import Knowing, Known
from learning.users.learn import Lessons, lessons_of, user_model
from learning.users.models import UserModel
from learning.users.pipeline import learn_session_side, pipeline_lists
from learning.users.settings import ModelName, UserSettings
from learning.users.visits import ARRIVAL, Moments, Visits, learnt_sessions, moments_between, read_visits
from learning.work_folder import Models
from rerank.ranker import RANKER
from session_model.training_settings import TrainingSettings

LISTED = 100
"""Items that the pipeline and a user model bring each."""
PIPELINE = "session pipeline alone"
SIDES = ("arrival", "later clicks")
_ASKED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class UsersPlan:
    """What to measure; see the command's options."""

    events: Path
    items: dict[str, Item]
    models: Models
    names: tuple[ModelName, ...]
    train_days: float
    tune_days: float
    visitors: float
    limit_cases: int
    training: TrainingSettings
    reranking: RerankTrainingSettings
    users: UserSettings
    seed: int


@dataclass(frozen=True, slots=True)
class UsersFound:
    """Rows by side of SIDES, the pipeline's first; `recall` by side and model: targets among its own LISTED items."""

    rows: dict[str, list[Judged]]
    recall: dict[str, dict[str, float]]
    facts: dict[str, Any]


def run_users(plan: UsersPlan, stages: Stages) -> UsersFound:
    """Train on the first days, choose weights on the next, judge on the rest. Raises SettingsError where any of the
    three has no visitor with a history.
    """
    expect_replaceable(plan.models.ranker, RANKER)
    with stages.stage("reading"):
        visits = read_visits(_events(plan), plan.reranking.session.idle_gap_ms)
    train_ms, tune_ms = _cuts(plan, visits)
    moments, is_tuned = _moments(plan, visits, train_ms, tune_ms)
    session_side = learn_session_side(
        visits, plan.items, train_ms, plan.models, plan.training, plan.reranking, stages, seed=plan.seed
    )
    at = visits.sessions.starts[moments.session] + moments.known
    with stages.stage("pipeline's lists") as shown:
        alone, asked = pipeline_lists(
            _events(plan), visits, plan.items, session_side, visits.numbers[at], LISTED, shown.show
        )
    moments, is_tuned, alone = moments.pick(asked), is_tuned[asked], alone[asked]
    with stages.stage("what is known of visitors"):
        knowing = Knowing(visits, session_side.towers, plan.items, plan.users)
        side = ItemSide.of(learnt_sessions(visits, train_ms), plan.items)
        lessons = lessons_of(visits, knowing, side, train_ms, plan.users, plan.seed)
        known = knowing.of(moments)
    bench = Bench.of(visits, moments, side, knowing.vectors, plan.seed)
    compared = _Compared(bench, alone, is_tuned)
    for name in plan.names:
        with stages.stage(name) as shown:
            model = user_model(name, lessons, plan.users, plan.seed, shown.show)
            compared.add(name, _lists(model, known))
    return UsersFound(compared.rows, compared.recall, _facts(plan, visits, bench, lessons, is_tuned, stages))


class _Compared:
    """Judges one model after another. Mutable: `rows` and `recall` grow."""

    def __init__(self, bench: Bench, alone: Answers, is_tuned: NDArray[np.bool_]) -> None:
        self._bench, self._alone, self._is_tuned = bench, alone, is_tuned
        self._arrives = bench.moments.known == ARRIVAL
        self.rows: dict[str, list[Judged]] = {}
        self.recall: dict[str, dict[str, float]] = {name: {} for name in SIDES}
        for name, judged in self._sides(~is_tuned):
            lists = alone[judged]
            self.rows[name] = [bench.pick(judged).judge(PIPELINE, lists, lists, 0.0)]
            self.recall[name][PIPELINE] = recall(lists, bench.moments.targets[judged])

    def _sides(self, which: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        yield SIDES[0], which & self._arrives
        yield SIDES[1], which & ~self._arrives

    def add(self, name: str, lists: Answers) -> None:
        """Choose the weights of a model's lists (c, LISTED), and judge."""
        tuned, judged = self._sides(self._is_tuned), self._sides(~self._is_tuned)
        for (side, choosing), (_, judging) in zip(tuned, judged, strict=True):
            weight = _best_weight(self._bench.pick(choosing), self._alone[choosing], lists[choosing])
            fused = fuse(self._alone[judging], lists[judging], weight, LISTED)
            self.rows[side].append(self._bench.pick(judging).judge(name, fused, self._alone[judging], weight))
            self.recall[side][name] = recall(lists[judging], self._bench.moments.targets[judging])


def _best_weight(bench: Bench, alone: Answers, lists: Answers) -> float:
    """Return the weight with the highest NDCG; the smallest of equals."""
    ndcg = GAINS.index("ndcg")
    found = [float(bench.gains(fuse(alone, lists, weight, LISTED))[ndcg].mean()) for weight in WEIGHTS]
    return WEIGHTS[int(np.argmax(found))]


def _lists(model: UserModel, known: Known) -> Answers:
    parts = [np.zeros((0, LISTED), np.int32)]
    for at in range(0, len(known), _ASKED_AT_ONCE):
        best = best_items(model.scores(known.part(slice(at, at + _ASKED_AT_ONCE))), LISTED)
        parts.append(np.pad(best, ((0, 0), (0, LISTED - best.shape[1])), constant_values=-1))
    return np.concatenate(parts)


def _events(plan: UsersPlan) -> Iterator[Event]:
    """Yield the log of a share of the visitors, drawn by user, or by session where there is none."""
    asked: Callable[[Event], bool] = lambda event: True  # noqa: E731
    if plan.visitors < 1:
        asked = lambda event: event_key(f"{plan.seed}:{event.user_id or event.session_id}") < plan.visitors * 2.0**64  # noqa: E731
    return (event for event in read_events(plan.events) if asked(event))


def _cuts(plan: UsersPlan, visits: Visits) -> tuple[int, int]:
    began_ms, last_ms = int(visits.sessions.ts_ms.min()), int(visits.sessions.ts_ms.max())
    train_ms = began_ms + int(plan.train_days * DAY_MS)
    tune_ms = train_ms + int(plan.tune_days * DAY_MS)
    if tune_ms >= last_ms:
        raise SettingsError(
            f"expected days left to judge on after --train-days {plan.train_days:g} and --tune-days "
            f"{plan.tune_days:g}, got a log of {(last_ms - began_ms) / DAY_MS:.1f} days: choose fewer"
        )
    return train_ms, tune_ms


def _moments(plan: UsersPlan, visits: Visits, train_ms: int, tune_ms: int) -> tuple[Moments, NDArray[np.bool_]]:
    """Return the moments to choose weights on and to judge on, and which are the former."""
    rng = np.random.default_rng(plan.seed)
    end_ms = int(visits.sessions.ts_ms.max()) + 1
    parts = [moments_between(visits, *span) for span in ((train_ms, tune_ms), (tune_ms, end_ms))]
    for what, part in zip(("choose weights", "judge"), parts, strict=True):
        arrivals = int(np.count_nonzero(part.known == ARRIVAL))
        if not 0 < arrivals < len(part):
            raise SettingsError(
                f"expected visits of visitors with a history to {what} on, got {arrivals} and "
                f"{len(part) - arrivals} later clicks: take more days or --visitors, or a log with user ids"
            )
    parts = [_sampled(parts[0], plan.limit_cases // 2, rng), _sampled(parts[1], plan.limit_cases, rng)]
    both = Moments(*(np.concatenate([getattr(part, name) for part in parts]) for name in Moments.__dataclass_fields__))
    return both, np.arange(len(both)) < len(parts[0])


def _sampled(moments: Moments, most: int, rng: np.random.Generator) -> Moments:
    """Return at most `most` arrivals and as many later clicks."""
    picked = [moments.pick(which).sample(most, rng) for which in (moments.known == ARRIVAL, moments.known > ARRIVAL)]
    return Moments(*(np.concatenate([getattr(part, name) for part in picked]) for name in Moments.__dataclass_fields__))


def _facts(
    plan: UsersPlan, visits: Visits, bench: Bench, lessons: Lessons, is_tuned: NDArray[np.bool_], stages: Stages
) -> dict[str, Any]:
    judged = bench.pick(~is_tuned)
    past = visits.earlier[judged.moments.session]
    return {
        "clicks": len(visits.sessions.items),
        "sessions": len(visits.sessions),
        "items": len(visits.sessions.item_ids),
        "moments_learnt": len(lessons.targets),
        "moments_tuned": int(is_tuned.sum()),
        "visitors_judged": len(np.unique(judged.users)),
        "earlier_visits": float(np.median(past)) if len(past) else 0.0,
        "known_targets": float((lessons.side.clicks[judged.moments.targets] > 0).mean()),
        "seconds": stages.seconds,
    }
