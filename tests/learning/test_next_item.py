"""The pipeline as a next-item model: frozen, asked for prefixes, and without some of its parts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import SettingsError
from contracts.ids import item_key
from contracts.settings import SessionSettings
from evaluation.metrics import hit_rate
from evaluation.next_item import ranks_of
from evaluation.sessions import Click, Sessions, cases_of, from_clicks
from eventlog.files import write_events
from learning.ablation import Ablation, without
from learning.next_item import (
    Fold,
    Frozen,
    Recall,
    choose_half_life,
    events_of,
    fold_by_fold,
    read_log,
    read_logs,
    replay_and_learn,
)
from learning.replay import RankingGroup, Towers, TrainingReplay
from learning.training_settings import RerankTrainingSettings
from rerank.features import FEATURES
from rerank.query import PipelineSettings
from rerank.ranker import Ranker
from retrieval.trends import TrendRules
from tests.learning.test_parity import tower
from tests.rerank.shop import encoder
from tests.rerank.traffic import traffic

TOWERS = Towers(encoder(), tower())
SETTINGS = RerankTrainingSettings(groups=400, refresh_events=20, check_share=0.3, trees=20, repeats=True)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sessions, Sessions]:
    folder = tmp_path_factory.mktemp("logs")
    write_events(folder / "train.jsonl.zst", traffic(500))
    write_events(folder / "test.jsonl.zst", traffic(60, seed=9))
    return read_logs(folder / "train.jsonl.zst", folder / "test.jsonl.zst", SessionSettings())


def learnt(train: Sessions, folder: Path, **changes: object) -> tuple[TrainingReplay, Ranker]:
    settings = SETTINGS.model_copy(update=changes)
    replay, _ = replay_and_learn(train, [Fold(int(0.4 * len(train)), TOWERS)], {}, settings, folder, seed=1)
    return replay, Ranker.load(folder)


def test_sessions_become_the_events_that_they_were(logs: tuple[Sessions, Sessions]) -> None:
    train, _ = logs
    clicks = [(event.item_id, event.ts) for event in events_of(train)]
    assert [ts for _, ts in clicks] == [event.ts for event in traffic(500)]
    assert sorted(clicks) == sorted((event.item_id, event.ts) for event in traffic(500))


def test_a_log_is_read_into_sessions(tmp_path: Path) -> None:
    write_events(tmp_path / "log.jsonl.zst", traffic(30))
    sessions = read_log([tmp_path / "log.jsonl.zst"], SessionSettings())
    assert (len(sessions), len(sessions.items)) == (30, len(traffic(30)))


def test_the_frozen_pipeline_tells_later_sessions(logs: tuple[Sessions, Sessions], tmp_path: Path) -> None:
    train, test = logs
    replay, ranker = learnt(train, tmp_path)
    frozen = Frozen.of(replay, TOWERS, train.item_ids, {}, ranker)
    cases, recall = cases_of(test), Recall()
    ranks = ranks_of(frozen.answer(cases, 10, recall=recall), cases.targets)
    assert hit_rate(ranks, 10) > 0.85
    assert recall.cases == len(cases)
    assert recall.shares()["any"] >= max(recall.shares().values()) == recall.shares()["any"]
    plain = Frozen.of(replay, TOWERS, train.item_ids, {}, None)
    assert frozen.answer(cases, 10).tolist() != plain.answer(cases, 10).tolist()


def test_a_frozen_past_stands_still_until_it_is_thawed() -> None:
    events = traffic(300)
    half, keys = len(events) // 2, np.array(sorted({item_key(event.item_id or "") for event in events}), np.uint64)

    def popularity(replay: TrainingReplay) -> list[float]:
        return replay.trends.popularity_at(replay.trends.rows_of(keys), np.int64(events[-1].ts)).tolist()

    live, frozen, earlier = (
        TrainingReplay(TOWERS, SessionSettings(), PipelineSettings(), TrendRules(), 20, frozen=stands)
        for stands in (False, True, False)
    )
    list(earlier.groups(events[:half], lambda number, event: False, half))
    counts = [
        len(list(replay.groups(events, lambda number, event: number % 7 == 0, half))) for replay in (live, frozen)
    ]
    assert counts[0] == counts[1] > 20
    assert popularity(frozen) == popularity(earlier) != popularity(live)
    frozen.resume_learning()
    live.refresh()
    assert popularity(frozen) == pytest.approx(popularity(live))
    assert frozen.catalogue.count == live.catalogue.count


def test_each_fold_is_asked_with_its_own_towers_and_what_was_known_before_it() -> None:
    events = traffic(300)
    first, second, end = len(events) // 3, len(events) // 2, len(events)
    other = Towers(encoder(), tower(per_category=7))

    def groups(upto: int, *folds: tuple[int, Towers]) -> list[RankingGroup]:
        replay = TrainingReplay(folds[0][1], SessionSettings(), PipelineSettings(), TrendRules(), 20, frozen=True)
        bounds = [*(begin for begin, _ in folds), upto]
        towers = [own for _, own in folds]
        return list(fold_by_fold(replay, iter(events), towers, bounds, lambda at, _: at >= bounds[0] and at % 5 == 0))

    both = groups(end, (first, TOWERS), (second, other))
    alone = [*groups(second, (first, TOWERS)), *groups(end, (second, other))]
    assert [group.number for group in both] == [group.number for group in alone]
    assert len(both) > 50
    for chained, one in zip(both, alone, strict=True):
        # counters were written at other moments, in half precision
        np.testing.assert_allclose(chained.rows, one.rows, rtol=2e-3)
    assert not np.array_equal(both[-1].rows, groups(end, (second, TOWERS))[-1].rows)


def test_asking_changes_nothing_and_batches_do_not_matter(logs: tuple[Sessions, Sessions], tmp_path: Path) -> None:
    train, test = logs
    replay, ranker = learnt(train, tmp_path)
    frozen, cases = Frozen.of(replay, TOWERS, train.item_ids, {}, ranker), cases_of(test)
    whole = frozen.answer(cases, 10)
    backwards = frozen.answer(cases.pick(np.arange(len(cases))[::-1]), 10)[::-1]
    assert whole.tolist() == backwards.tolist()


def test_exact_search_and_the_graph_agree_on_a_small_shop(logs: tuple[Sessions, Sessions]) -> None:
    train, test = logs
    replay = TrainingReplay(TOWERS, SessionSettings(), PipelineSettings(), TrendRules(), 100)
    list(replay.groups(events_of(train), lambda number, event: False, len(train.items) + 1))
    replay.refresh()
    cases = cases_of(test)
    exact, graph = (Frozen.of(replay, TOWERS, train.item_ids, {}, None, exact_up_to=up_to) for up_to in (1000, 0))
    assert (exact.state.index.is_exact, graph.state.index.is_exact) == (True, False)
    queries = exact.contexts(cases).queries
    (rows, near), (others, as_near) = (one.state.index.search(queries, 5) for one in (exact, graph))
    alike = (rows == others) | (np.abs(near - as_near) < 1e-6)  # the same item, or one exactly as near
    assert alike.mean() > 0.99
    answers = exact.nearest(cases, 5), graph.nearest(cases, 5)
    assert ((answers[0] == answers[1]) | alike).mean() > 0.99


def test_a_re_ranker_learns_from_moving_counts_unless_the_past_is_to_stand_still(
    logs: tuple[Sessions, Sessions], tmp_path: Path
) -> None:
    train, _ = logs
    (live, moving), (frozen, standing) = (
        replay_and_learn(train, [Fold(200, TOWERS)], {}, SETTINGS, tmp_path / str(stands), seed=1, frozen=stands)
        for stands in (False, True)
    )
    assert moving.version != standing.version
    assert moving.groups > 20
    assert len(live.trends) == len(frozen.trends)


def test_what_is_left_out_brings_nothing(logs: tuple[Sessions, Sessions], tmp_path: Path) -> None:
    train, test = logs
    settings, ablation = without(SETTINGS, ["nearest", "covisit_last"])
    assert settings.pipeline.nearest == 0
    replay, _ = replay_and_learn(train, [Fold(200, TOWERS)], {}, settings, tmp_path, seed=1, ablation=ablation)
    frozen = Frozen.of(replay, TOWERS, train.item_ids, {}, Ranker.load(tmp_path), ablation=ablation)
    recall = Recall()
    frozen.answer(cases_of(test), 10, recall=recall)
    assert recall.shares()["nearest"] == 0.0
    assert recall.shares()["covisit"] > 0.5
    left = Ablation((1,)).apply(np.ones((2, len(FEATURES)), np.float32))
    assert np.isnan(left[:, 1]).all()
    assert (np.delete(left, 1, axis=1) == 1).all()
    with pytest.raises(SettingsError, match="cannot leave out"):
        without(SETTINGS, ["magic"])


def test_the_half_life_is_the_one_that_tells_the_latest_sessions_best() -> None:
    hour = 3_600_000
    # what follows item 0 changes every 12 hours: 20 answers hold it only if what is old is forgotten
    turns = [at * 25 // 300 for at in range(300)]
    clicks = [Click(f"s{at}", item, at * hour) for at, turn in enumerate(turns) for item in (0, 1 + turn)]
    assert choose_half_life(from_clicks(tuple(map(str, range(31))), clicks)) <= timedelta(hours=48)
    # item 1 follows item 0 a hundred times, then 170 others once each, then item 1 again
    others = [1] * 100 + list(range(2, 172)) + [1] * 30
    clicks = [Click(f"s{at}", item, at * hour) for at, other in enumerate(others) for item in (0, other)]
    assert choose_half_life(from_clicks(tuple(map(str, range(172))), clicks)) >= timedelta(hours=48)
