"""Training the re-ranker: what a row may know, and that what is learnt serves."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pytest

from contracts.errors import ArtifactError, ImportFormatError
from contracts.events import Event
from contracts.items import Item
from contracts.settings import SessionSettings
from eventlog.files import write_events
from learning.replay import RankingGroup, Towers, TrainingReplay
from learning.training import Step, train_reranker
from learning.training_settings import RerankTrainingSettings
from rerank.features import FEATURES
from rerank.query import PipelineSettings
from rerank.ranker import Ranker
from retrieval.trends import TrendRules
from tests.rerank.shop import encoder
from tests.rerank.traffic import START, event, traffic

SETTINGS = RerankTrainingSettings(groups=400, refresh_events=20, warm_up=0.3, check_share=0.3, trees=20)


def groups(
    events: list[Event], asked_from: int = 0, refresh_events: int = 10, items: tuple[str, ...] = ()
) -> list[RankingGroup]:
    replay = TrainingReplay(Towers(encoder()), SessionSettings(), PipelineSettings(), TrendRules(), refresh_events)
    replay.add_items([(name, Item(title=name, category="all"), START) for name in items])
    return list(replay.groups(events, lambda number, _: number >= asked_from, asked_from))


def named(group: RankingGroup, feature: str) -> list[float]:
    values: list[float] = group.rows[:, FEATURES.index(feature)].tolist()
    return values


def test_changing_the_future_changes_no_earlier_row() -> None:
    events = traffic(120)
    cut = len(events) // 2
    other = traffic(120, seed=99)
    future = [
        one.model_copy(update={"item_id": two.item_id, "type": "purchase"})
        for one, two in zip(events[cut:], other[cut:], strict=False)
    ]
    assert len(future) >= 50
    before, after = groups(events, asked_from=40), groups(events[:cut] + future, asked_from=40)
    earlier = [group for group in before if group.number < cut]
    assert len(earlier) > 60
    for one, two in zip(earlier, after, strict=False):
        assert (one.number, one.target) == (two.number, two.target)
        np.testing.assert_array_equal(one.rows, two.rows)
        np.testing.assert_array_equal(one.retrieval, two.retrieval)
    changed = [
        one.rows.shape != two.rows.shape or not np.array_equal(one.rows, two.rows, equal_nan=True)
        for one, two in zip(before[len(earlier) :], after[len(earlier) :], strict=False)
    ]
    assert any(changed)


def test_a_group_does_not_know_the_click_that_it_asks_for() -> None:
    events = [
        event(0, "a", "x", START),
        event(1, "a", "y", START + 1000),
        event(2, "b", "x", START + 2000),
        event(3, "b", "y", START + 3000),
    ]
    first, second = groups(events, refresh_events=2)
    assert (first.number, first.target, len(first.rows)) == (1, -1, 0)
    assert second.number == 3
    assert named(second, "covisit_last")[second.target] == 1.0
    assert sorted(named(second, "popularity")) == pytest.approx([np.log1p(1.0)] * 2, abs=1e-4)


def test_next_clicks_continue_a_session_on_another_item() -> None:
    hour = 3_600_000
    events = [
        event(0, "a", "x", START),
        event(1, "a", "x", START + 1000, type="cart"),
        event(2, "a", "y", START + 2000),
        event(3, "a", "z", START + 2 * hour),
        event(4, "a", "y", START + 2 * hour + 1),
        event(4, "a", "y", START + 2 * hour + 1),
    ]
    assert [group.number for group in groups(events, refresh_events=1)] == [2, 4]


def test_impressions_of_a_session_and_its_clicks_on_them_become_the_click_rate() -> None:
    page = {"v": 1, "type": "impression", "session_id": "a", "ts": START, "items": ["x", "y"]}
    events = [
        *(Event.model_validate({**page, "event_id": f"i{at}"}) for at in range(20)),
        event(1, "a", "x", START),
        event(2, "c", "y", START + 1, request_id="of a page that c was not shown"),
        event(3, "b", "x", START + 2),
        event(4, "b", "y", START + 3),
    ]
    group = groups(events, asked_from=22, refresh_events=1)[-1]
    rates = dict(zip(named(group, "times_in_window"), named(group, "ctr"), strict=True))
    assert rates[1.0] == pytest.approx((1 + 20 / 40) / 40, rel=1e-3)
    assert rates[0.0] == pytest.approx((0 + 20 / 40) / 40, rel=1e-3)


def trained(tmp_path: Path, events: list[Event], **changes: object) -> tuple[Path, object]:
    out = tmp_path / "reranker"
    settings = SETTINGS.model_copy(update=changes)
    return out, train_reranker(events, None, tmp_path / "none", out, settings, seed=1)


def test_a_trained_ranker_beats_the_order_of_retrieval_and_serves(tmp_path: Path) -> None:
    steps: list[Step] = []
    log = tmp_path / "log.jsonl.zst"
    write_events(log, traffic(600))
    made = train_reranker(
        [log], None, tmp_path / "none", tmp_path / "reranker", SETTINGS, seed=1, progress=steps.append
    )
    assert made.reranked.mrr > made.retrieval_order.mrr
    assert made.recall > 0.9
    assert 1 <= made.trees <= 20
    ranker = Ranker.load(tmp_path / "reranker")
    assert (ranker.version, ranker.model_version) == (made.version, 0)
    notes = orjson.loads((tmp_path / "reranker" / "manifest.json").read_bytes())["notes"]
    assert notes["reranked"]["mrr"] == made.reranked.mrr
    replayed = [step for step in steps if step.stage == "replay"]
    assert replayed[-1].done == replayed[-1].total
    assert all(one.done <= two.done for one, two in pairwise(replayed))
    checks = [step for step in steps if step.stage == "train"]
    assert len(checks) == 20
    assert all(step.ndcg is not None for step in checks)
    assert steps[-1] == Step("train on all", made.trees, made.trees)


def test_the_trees_that_serve_have_learnt_from_the_clicks_kept_aside_too(tmp_path: Path) -> None:
    """One tree is one tree whatever the check says, so that only what it learnt from can make it another."""
    events = traffic(600)
    late = len(events) * 9 // 10
    shuffled = [one.model_copy(update={"item_id": "lamps-1"}) for one in events[late:]]
    one, _ = trained(tmp_path / "1", events, trees=1)
    other, _ = trained(tmp_path / "2", events[:late] + shuffled, trees=1)
    assert (one / "ranker.ubj").read_bytes() != (other / "ranker.ubj").read_bytes()


def test_the_same_log_and_seed_give_the_same_trees(tmp_path: Path) -> None:
    events = traffic(300)
    first = trained(tmp_path / "1", events)[0] / "ranker.ubj"
    second = trained(tmp_path / "2", events)[0] / "ranker.ubj"
    assert first.read_bytes() == second.read_bytes()


def test_too_little_traffic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected at least 20 next clicks"):
        trained(tmp_path, traffic(10))


def test_items_of_the_file_have_content_and_others_are_bare(tmp_path: Path) -> None:
    events = traffic(300)
    bare, known = groups(events[:300])[-1], groups(events[:300], items=tuple(f"shoes-{at}" for at in range(12)))
    assert named(bare, "category_share") == [0.0] * len(bare.rows)
    assert {1.0, 0.0} == {share for group in known for share in named(group, "category_share")}


def test_an_items_file_is_read(tmp_path: Path) -> None:
    lines = [orjson.dumps({"item_id": f"shoes-{at}", "title": "t", "price": 5.0}) for at in range(12)]
    (tmp_path / "items.jsonl").write_bytes(b"\n".join(lines))
    made = train_reranker(
        traffic(300), tmp_path / "items.jsonl", tmp_path / "none", tmp_path / "reranker", SETTINGS, seed=1
    )
    assert made.checked > 20
    (tmp_path / "items.jsonl").write_bytes(b"{}")
    with pytest.raises(ImportFormatError, match="item_id: expected a string"):
        train_reranker(traffic(300), tmp_path / "items.jsonl", tmp_path, tmp_path / "reranker", SETTINGS, seed=1)


def test_a_first_click_is_asked_for_where_arrivals_are() -> None:
    events = traffic(60)
    settings = SessionSettings(), PipelineSettings(), TrendRules(), 10
    arriving = TrainingReplay(Towers(encoder()), *settings, arrivals=True)
    continuing = TrainingReplay(Towers(encoder()), *settings)
    found = {group.number: group for group in arriving.groups(events, lambda number, _: number >= 30, 30)}
    later = {group.number: group for group in continuing.groups(events, lambda number, _: number >= 30, 30)}
    seen: set[str] = set()
    first = {number for number, one in enumerate(events) if one.session_id not in seen and not seen.add(one.session_id)}
    assert found.keys() - later.keys() == {number for number in first if number >= 30}
    for number, group in later.items():
        np.testing.assert_array_equal(group.rows, found[number].rows)
