"""Pages that were shown, as the features see them: what serves, plus place and price; nothing of the click itself."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.events import Event
from contracts.ids import item_key
from contracts.settings import SessionSettings
from learning.replay import Towers, TrainingReplay
from learning.shown_pages import COLUMNS, ShownPage, fit, picked, ranks, replay_pages
from learning.training_settings import RerankTrainingSettings
from rerank.features import FEATURES
from rerank.query import PipelineSettings
from retrieval.trends import TrendRules

MINUTE_MS = 60_000


def shop(sessions: int, seed: int) -> list[Event]:
    """Visitors who look at one of six items and then choose from a page: that item if it is there, or the cheapest."""
    rng = np.random.default_rng(seed)
    events = []
    for n in range(sessions):
        at, who = n * MINUTE_MS, f"s{n}"
        shown = [f"i{item}" for item in rng.permutation(6)[:4]]
        prices = [float(price) for price in rng.permutation(np.arange(10, 50, 10))]
        looked_at = f"i{rng.integers(6)}"
        chosen = looked_at if looked_at in shown else shown[int(np.argmin(prices))]
        names = {"v": 1, "session_id": who}
        events += [
            Event(**names, event_id=f"v{n}", type="view", item_id=looked_at, ts=at),
            Event(
                **names, event_id=f"p{n}", type="impression", items=shown, ts=at + 1, request_id=f"r{n}", prices=prices
            ),
            Event(**names, event_id=f"c{n}", type="purchase", item_id=chosen, ts=at + 2, request_id=f"r{n}"),
        ]
    return events


def replayed(events: list[Event], refresh_events: int = 50) -> list[ShownPage]:
    replay = TrainingReplay(Towers(), SessionSettings(), PipelineSettings(), TrendRules(), refresh_events)
    return list(replay_pages(events, replay))


def column(page: ShownPage, name: str) -> list[float]:
    found: list[float] = page.rows[:, COLUMNS.index(name)].tolist()
    return found


def test_a_page_knows_its_places_and_prices_and_the_item_looked_at_before() -> None:
    events = shop(1, 1)
    [page] = replayed(events)
    shown, prices = events[1].items or [], np.array((events[1].model_extra or {})["prices"])
    assert page.number == 2
    assert page.session_id == "s0"
    assert page.rows.shape == (4, len(FEATURES) + 4)
    order = np.argsort(column(page, "shown_place"))
    assert page.rows[order, COLUMNS.index("shown_place")].tolist() == [0.0, 1.0, 2.0, 3.0]
    np.testing.assert_allclose(page.rows[order, COLUMNS.index("shown_price")], np.log1p(prices), rtol=1e-6)
    assert page.rows[order, COLUMNS.index("price_place")].tolist() == np.argsort(np.argsort(prices)).tolist()
    assert page.shown_rank == shown.index(events[2].item_id or "") + 1
    assert sum(column(page, "times_in_window")) == float(events[0].item_id in shown)


def test_features_of_a_page_do_not_change_with_what_comes_after_it() -> None:
    events = shop(120, 2)
    whole, part = replayed(events), replayed(events[:180])
    assert len(whole) == 120
    assert len(part) == 60
    for ours, theirs in zip(part, whole, strict=False):
        np.testing.assert_array_equal(ours.rows, theirs.rows)
    other = [*events[:180], *shop(400, 9)[600:]]
    for ours, theirs in zip(part, replayed(other), strict=False):
        np.testing.assert_array_equal(ours.rows, theirs.rows)


def test_an_item_that_was_clicked_before_its_page_keeps_the_price_shown() -> None:
    """The trends flow, too, puts an item into the catalogue at its first click only where it is not there."""
    page = {"v": 1, "event_id": "p", "type": "impression", "session_id": "s", "request_id": "r"}
    events = [
        Event(v=1, event_id="v", type="view", session_id="s", item_id="i1", ts=1),
        Event(**page, items=["i1", "i2"], prices=[20.0, 30.0], ts=2),  # type: ignore[arg-type]
    ]
    replay = TrainingReplay(Towers(), SessionSettings(), PipelineSettings(), TrendRules(), 50)

    assert list(replay_pages(events, replay)) == []

    rows = replay.catalogue.rows_of(np.array([item_key("i1"), item_key("i2")], np.uint64))
    assert replay.catalogue.price[rows].tolist() == [20.0, 30.0]


def test_a_click_that_names_no_page_or_an_item_not_shown_there_is_told_apart() -> None:
    [view, page, click] = shop(1, 1)
    lost = click.model_copy(update={"request_id": "other", "event_id": "x"})
    elsewhere = click.model_copy(update={"item_id": "not-shown", "event_id": "y"})
    found = replayed([view, page, lost, elsewhere])
    assert [(one.number, one.target, one.shown_rank) for one in found] == [(3, -1, 0)]
    assert ranks(found, lambda rows: rows[:, 0]).tolist() == [0]


def test_a_ranker_of_page_features_learns_what_the_visitors_do() -> None:
    pages = replayed(shop(700, 3))
    learn, check, asked = pages[:400], pages[400:500], pages[500:]
    ranker = fit(learn, check, COLUMNS, RerankTrainingSettings(trees=30), seed=1)
    reciprocal = 1.0 / ranks(asked, picked(ranker, COLUMNS))
    assert float(reciprocal.mean()) > 0.95
    without_prices = fit(learn, check, FEATURES, RerankTrainingSettings(trees=30), seed=1)
    assert float(reciprocal.mean()) > float((1.0 / ranks(asked, picked(without_prices, FEATURES))).mean()) + 0.05


def test_ties_count_against_the_clicked_item() -> None:
    page = ShownPage(1, "s", np.zeros((5, len(COLUMNS)), np.float32), 2)
    assert ranks([page], lambda rows: rows[:, 0]).tolist() == [5]
    nothing = ShownPage(1, "s", np.full((5, len(COLUMNS)), np.nan, np.float32), 2)
    assert ranks([nothing], lambda rows: rows[:, 0]).tolist() == [5]


@pytest.mark.slow
@pytest.mark.torch
def test_the_command_prints_every_row_with_its_interval(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import orjson
    from typer.testing import CliRunner

    from eventlog.files import write_events
    from nextclick.cli import build_app

    pytest.importorskip("torch", reason="needs the train extra")
    write_events(tmp_path / "log.jsonl.zst", shop(500, 4))
    words = ["evaluate", "impressions", str(tmp_path / "log.jsonl.zst"), "--out", str(tmp_path / "found.json")]
    done = CliRunner().invoke(build_app(), words, env={"COLUMNS": "200"})
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    found = orjson.loads((tmp_path / "found.json").read_bytes())
    by_name = {row["name"]: row["mrr"]["value"] for row in found["rows"]}
    assert len(by_name) == 9
    assert by_name["ranker with place and price shown, no session model"] > by_name["order shown"] + 0.2
    assert set(found["changes"]) == {
        "place and price shown",
        "the session model beside them",
        "what was passed over, in that ranker",
        "what was passed over, nearest alone",
    }
    lonely = [event for event in shop(500, 4) if not event.is_impression]
    write_events(tmp_path / "none.jsonl.zst", lonely)
    told = CliRunner().invoke(build_app(), ["evaluate", "impressions", str(tmp_path / "none.jsonl.zst")])
    assert "expected at least 10 pages with a click that names them by request_id" in str(told.exception)
