"""What a recording has of devices, regions, hours and seasons: counted, left out where it is too little, and learnt."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ArtifactError
from contracts.events import Event
from contracts.ids import item_key
from contracts.settings import SessionSettings, TrendOptions
from learning.calendar import Clicked, calendar_of
from learning.context import ContextCounts
from learning.replay import Towers, TrainingReplay
from learning.training import train_reranker
from learning.training_settings import RerankTrainingSettings
from replay.synthetic.leanings import Leanings
from replay.synthetic.words import DEVICES
from rerank import calendar
from rerank.calendar import DAY_MS, HOUR_MS, Calendar
from rerank.context import visitor_in, with_visitors
from rerank.features import FEATURES, PARTS, Parts
from rerank.features.inputs import Inputs
from rerank.pipeline import Pipeline
from rerank.query import PipelineSettings, Query
from rerank.ranker import Ranker
from rerank.session_vector import contexts_of
from retrieval.candidates import gather
from retrieval.catalogue import CatalogueColumns
from retrieval.trends import TrendRules
from tests.rerank.traffic import event

MONDAY = 1_767_571_200_000 // HOUR_MS
"""2026-01-05 at midnight, in hours."""
EVERY = tuple(PARTS)


def clicked(clicks: list[tuple[str, int]], categories: dict[str, str] | None = None) -> Clicked:
    """Clicks of (item, hours after MONDAY)."""
    keys = np.array([item_key(name) for name, _ in clicks], np.uint64)
    hours = np.array([MONDAY + hour for _, hour in clicks], np.int64)
    items, which = np.unique(keys, return_inverse=True)
    since = np.full(len(items), hours.max())
    np.minimum.at(since, which, hours)
    said = {item_key(name): path for name, path in (categories or {}).items()}
    return Clicked(keys, hours, items, since, [said.get(key, "") for key in items.tolist()])


def lift(found: Calendar, cycle: str, name: str, hour: int, category: str = "") -> float:
    moment = np.array([(MONDAY + hour) * HOUR_MS])
    keys = np.array([item_key(name)], np.uint64)
    return float(found.log_lifts(cycle, found.places_of(keys, [category], np.zeros(1, np.int64)), moment)[0])


def test_an_item_of_the_morning_is_lifted_in_the_morning_and_sunk_at_night() -> None:
    morning = [("coffee", 24 * day + 8) for day in range(10) for _ in range(10)]
    night = [("wine", 24 * day + 20) for day in range(10) for _ in range(10)]
    found = calendar_of(clicked(morning + night), ("hour",))
    # while it was there, 100 of 190 clicks fell on 8 and 90 on 20; smoothing leaves half of a count at its hour
    assert lift(found, "hour", "coffee", 8) == pytest.approx(np.log((50 + 20) / (26.3 + 20)), abs=2e-3)
    assert lift(found, "hour", "coffee", 24 * 9 + 20) == pytest.approx(np.log(20 / (23.7 + 20)), abs=2e-3)
    assert lift(found, "hour", "coffee", 14) == 0.0


def test_an_item_that_came_and_went_is_compared_with_the_clicks_of_its_own_days() -> None:
    """Weekdays are busier than weekends are, for all items: none is lifted."""
    others = [
        ("all", 24 * day + hour) for day in range(28) for hour in range(24) for _ in range(4 if day % 7 < 5 else 1)
    ]
    whole = [("own", 24 * day) for day in range(28) for _ in range(4 if day % 7 < 5 else 1)]
    short = [("brief", 24 * day) for day in range(4) for _ in range(10)]
    found = calendar_of(clicked(others + whole + short), ("weekday",))
    assert max(abs(lift(found, "weekday", "own", 24 * day)) for day in range(7)) < 0.15
    assert np.isnan(lift(found, "weekday", "brief", 0))


def test_an_item_that_was_there_all_year_is_of_the_season_in_which_it_was_clicked() -> None:
    others = [("all", 24 * day) for day in range(400)]
    found_since = clicked([*others, *(("tree", 24 * day) for day in range(330, 360) for _ in range(5))])
    there = Clicked(found_since.keys, found_since.hours, found_since.items, np.full(2, MONDAY), found_since.categories)
    found = calendar_of(there, ("season",))
    assert lift(found, "season", "tree", 24 * 345) > 0.3
    assert lift(found, "season", "tree", 24 * 150) < 0.0
    assert np.isnan(lift(calendar_of(found_since, ("season",)), "season", "tree", 24 * 345))


def test_an_item_that_is_not_known_has_the_lift_of_its_category_and_none_without_one() -> None:
    morning = [("coffee", 24 * day + 8) for day in range(10) for _ in range(10)]
    night = [("wine", 24 * day + 20) for day in range(10) for _ in range(10)]
    found = calendar_of(clicked(morning + night, {"coffee": "drinks/hot", "wine": "drinks/cold"}), ("hour",))
    assert lift(found, "hour", "tea", 8, "drinks/hot") == pytest.approx(np.log((50 + 20) / (26.3 + 20)), abs=2e-3)
    assert np.isnan(lift(found, "hour", "tea", 8, "books"))
    assert np.isnan(lift(found, "hour", "tea", 8))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 24 * 40)), min_size=1, max_size=60))
def test_lifts_are_finite_or_unknown_whatever_was_clicked(clicks: list[tuple[str, int]]) -> None:
    found = calendar_of(clicked(clicks * 4, {"a": "x"}), ("hour", "weekday"))
    for held in found.lifts.values():
        assert not np.isinf(held.items).any()
        assert np.isfinite(held.categories).all()
        assert abs(np.nan_to_num(held.items)).max(initial=0) < 5


def test_the_first_week_and_the_last_one_of_a_year_and_days_of_the_week() -> None:
    days = np.array(["2026-01-01", "2026-01-07", "2026-01-08", "2026-12-30", "2028-12-31"], "datetime64[ms]")
    assert calendar.week_of(days.astype(np.int64)).tolist() == [0, 0, 1, 51, 51]
    monday = np.array([MONDAY * HOUR_MS + 5 * HOUR_MS])
    assert (calendar.weekday_of(monday)[0], calendar.hour_of(monday)[0]) == (0, 5)
    assert calendar.weekday_of(monday - DAY_MS)[0] == 6


def test_a_recording_that_lacks_something_says_what() -> None:
    counts = ContextCounts(EVERY)
    for number in range(300):
        counts.take(event(number, "s", "x", MONDAY * HOUR_MS + number * HOUR_MS, context={"device": "tv"}))
    counts.take(event(301, "s", "x", MONDAY * HOUR_MS, context={"device": "phone"}))
    found = counts.learnable(CatalogueColumns())
    assert found.parts.names == ("hour",)
    assert found.left_out == {
        "device": "expected at least 2 devices, got 1",
        "region": "expected at least 2 regions, got 0",
        "weekday": "expected at least 14 days before what is learnt from, got 12.5",
        "season": "expected at least 360 days before what is learnt from, got 12.5",
    }


def walk(days: int = 20, seed: int = 1) -> list[Event]:
    """Sessions of three clicks, one an hour, on two devices."""
    random = np.random.default_rng(seed)
    found = []
    for hour in range(24 * days):
        context = {"device": ("tv", "phone")[hour % 2], "region": ("n", "s")[hour // 2 % 2]}
        for step, item in enumerate(random.permutation(8)[:3].tolist()):
            ts = (MONDAY + hour) * HOUR_MS + 1000 * step
            found.append(event(3 * hour + step, f"s{hour}", f"i{item}", ts, context=context))
    return found


SETTINGS = RerankTrainingSettings(
    groups=400, refresh_events=30, warm_up=0.8, check_share=0.4, trees=5, context=EVERY, trend=TrendOptions()
)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ranker that learnt from `walk` with what that has."""
    folder = tmp_path_factory.mktemp("artifacts")
    made = train_reranker(walk(), None, folder / "none", folder / "reranker", SETTINGS, seed=1)
    assert made.context == ("device", "region", "hour", "weekday")
    assert list(made.left_out) == ["season"]
    return folder


def test_serving_computes_the_features_that_training_did(artifacts: Path) -> None:
    events = walk()
    trained = Ranker.load(artifacts / "reranker")
    assert trained.features[len(FEATURES) :] == trained.parts.features
    replay = TrainingReplay(
        Towers(), SessionSettings(), PipelineSettings(), TrendRules.of(SETTINGS.trend), 30, parts=trained.parts
    )
    pipeline = Pipeline(replay.state, None, trained)
    compared = 0
    asked_from = len(events) - 60
    for asked in replay.batches(events, lambda number, _: number >= asked_from, asked_from):
        for at, one in enumerate(asked.events):
            begin, end = asked.candidates.starts[at], asked.candidates.starts[at + 1]
            session = replay.session_of(one.session_id, one.ts)
            assert session is not None
            before = asked.contexts.lengths[at]
            cut = session.window[: int(before)]
            query = Query(
                int(asked.contexts.now_ms[at]),
                session=replace(session, window=cut, events=len(cut)),
                limit=8,
                context=one.context or {},
                **visitor_in(one.context),
            )
            [answer] = pipeline.recommend([query])
            rows = dict(zip(asked.candidates.rows[begin:end].tolist(), asked.rows[begin:end], strict=True))
            for item, logged in zip(answer.items, answer.features, strict=True):
                if not np.isnan(logged).all():
                    row = int(replay.catalogue.rows_of(np.array([item_key(item.item_id)], np.uint64))[0])
                    np.testing.assert_array_equal(logged[len(FEATURES) :], rows[row][len(FEATURES) :])
                    compared += 1
    assert compared > 60
    named = [trained.features.index(name) for name in ("device_lift", "region_lift", "hour_lift", "weekday_lift")]
    assert np.isfinite(asked.rows[:, named]).all()
    assert (asked.rows[:, named] != 0).any(axis=0).all()


def test_no_row_of_the_training_knows_what_comes_after_it() -> None:
    events = walk()
    cut = int(len(events) * 0.9)
    other = [*events[:cut], *(one.model_copy(update={"item_id": "i0"}) for one in events[cut:])]
    before, after = (
        [
            group
            for group in _replay().groups(log, lambda number, _: number >= cut - 90, cut - 90)
            if group.number < cut - 30
        ]
        for log in (events, other)
    )
    assert len(before) > 30
    assert before[0].rows.shape[1] > len(FEATURES)
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.rows, two.rows)


def _replay() -> TrainingReplay:
    rules = TrendRules.of(SETTINGS.trend)
    return TrainingReplay(Towers(), SessionSettings(), PipelineSettings(), rules, 30, learns=EVERY)


def test_a_visitor_of_no_device_has_no_lift_and_a_request_alone_gets_what_it_gets_in_a_batch() -> None:
    replay = _replay()
    events = walk()
    for _ in replay.groups(events, lambda number, _: False, len(events)):
        pass
    sessions = [replay.session_of(one.session_id, one.ts) for one in events[-5:]]
    contexts = [{"device": "tv"}, {}, {"device": "phone", "region": "s"}, {"region": "nowhere"}, {"device": 7}]
    queries = [
        Query(events[-1].ts, session=one, **visitor_in(context))
        for one, context in zip(sessions, contexts, strict=True)
    ]
    parts = Parts(("device", "region"))
    assert len(replay.parts.names) == 4

    def rows(some: list[Query]) -> np.ndarray:
        asked = with_visitors(contexts_of(some, replay.catalogue, None), some, parts)
        candidates = gather(asked, replay.state, replay.pipeline)
        inputs = Inputs(asked, candidates, replay.state)
        found = np.full((4, len(candidates)), np.float32(7))
        for at, block in enumerate(parts.blocks):
            block.write(found[2 * at : 2 * at + 2], inputs)
        return found

    apart = [rows([one]) for one in queries]
    np.testing.assert_array_equal(rows(queries), np.concatenate(apart, axis=1))
    device, region = [[bool(np.isfinite(one[at]).all()) for one in apart] for at in (0, 2)]
    assert device == [True, False, True, False, False]
    assert region == [False, False, True, False, False]


def test_a_ranker_without_context_is_what_it_was(tmp_path: Path) -> None:
    events = walk()
    settings = SETTINGS.model_copy(update={"context": ()})
    made = train_reranker(events, None, tmp_path / "none", tmp_path / "reranker", settings, seed=1)
    assert (made.context, made.left_out) == ((), {})
    assert sorted(path.name for path in (tmp_path / "reranker").iterdir()) == ["manifest.json", "ranker.ubj"]
    assert "context" not in orjson.loads((tmp_path / "reranker" / "manifest.json").read_bytes())
    assert Ranker.load(tmp_path / "reranker").features == FEATURES


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"parts": ["moon"]}, "expected a context with parts"),
        ({"parts": ["hour", "device"]}, "expected a context with parts"),
        ("hour", "expected a context with parts"),
        ({"parts": ["device"], "schema_hash": "0123"}, "expected context features of schema"),
        ({"parts": ["hour"], "calendar_sha256": "0123"}, "calendar.npz: expected SHA-256 0123"),
    ],
)
def test_a_context_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, artifacts: Path, context: object, said: str
) -> None:
    shutil.copytree(artifacts / "reranker", tmp_path / "reranker")
    path = tmp_path / "reranker" / "manifest.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "context": context}))
    with pytest.raises(ArtifactError, match=said):
        Ranker.load(tmp_path / "reranker")


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + b"\0" * 18, b"no calendar"])
def test_what_is_no_calendar_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="expected a calendar"):
        calendar.decoded(content, ("hour",), Path("calendar.npz"))


def test_a_saved_calendar_is_the_same_and_has_the_same_bytes() -> None:
    made = calendar_of(clicked([("a", hour) for hour in range(100)], {"a": "x"}), ("hour",))
    again = calendar.decoded(made.encoded(), ("hour",), Path("calendar.npz"))
    assert again.encoded() == made.encoded()
    assert lift(again, "hour", "a", 5, "x") == lift(made, "hour", "a", 5, "x")
    with pytest.raises(ArtifactError, match="expected a calendar"):
        calendar.decoded(made.encoded(), ("season",), Path("calendar.npz"))


def leaning(leanings: Leanings, days: int = 20) -> list[Event]:
    """Two sessions an hour of three items out of 24, drawn by what their hour and their device lean to."""
    random, lean = np.random.default_rng(2), leanings.of(24)
    found = []
    for number in range(2 * 24 * days):
        device, start = int(random.integers(len(DEVICES))), MONDAY * HOUR_MS + number * HOUR_MS // 2
        wish = lean.pull(np.arange(24)[None], np.array([device]), np.array([start]))[0]
        for step, item in enumerate(np.argsort(-wish - random.gumbel(size=24))[:3].tolist()):
            context = {"device": DEVICES[device]}
            found.append(event(3 * number + step, f"s{number}", f"i{item}", start + 1000 * step, context=context))
    return found


@pytest.mark.slow
def test_the_features_of_the_hour_win_where_shoppers_lean_to_hours(tmp_path: Path) -> None:
    events = leaning(Leanings(hour=3.0))
    found = []
    for context in ((), ("hour",)):
        halves = {"warm_up": 0.5, "check_share": 0.5, "trees": 20, "groups": 10_000}
        settings = SETTINGS.model_copy(update={"context": context, **halves})
        made = train_reranker(events, None, tmp_path / "none", tmp_path / "reranker", settings, seed=1)
        assert made.context == context
        found.append(made.reranked.mrr)
    before, after = found
    assert after > 1.05 * before
