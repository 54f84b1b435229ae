"""Scenarios asked on a recording: the same moments for each, and what visits did afterwards."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from contracts.errors import SettingsError
from contracts.items import Item
from contracts.scenarios import Scenario
from eventlog.files import write_events
from learning.replay import Towers
from learning.scenario_figures import Judged, compared, exposures
from learning.scenario_pages import AskedPages, Asking, ask
from learning.training_settings import RerankTrainingSettings
from nextclick.show.stages import BarStages
from rerank.scenarios.compiled import Compiled, compile_scenario

MINUTE_MS = 60_000
SUPPLIERS = ("Acme", "Peak", "Crown")


def silent() -> BarStages:
    return BarStages(Console(file=StringIO()))


def scenario(name: str = "homepage", **fields: Any) -> Compiled:
    return compile_scenario(name, 0, Scenario.model_validate(fields), lambda base: None)


def events(visits: dict[str, str], *, begin_ms: int = MINUTE_MS) -> list[dict[str, Any]]:
    """One click a minute, visit after visit; an upper-case letter is a purchase."""
    found: list[dict[str, Any]] = []
    for session, items in visits.items():
        for item in items:
            at = len(found)
            found.append(
                {
                    "v": 1,
                    "event_id": f"e{at}",
                    "type": "purchase" if item.isupper() else "view",
                    "session_id": session,
                    "item_id": item.lower(),
                    "ts": begin_ms + at * MINUTE_MS,
                }
            )
    return found


def asking(path: Path, log: list[dict[str, Any]], *scenarios: Compiled, **changed: Any) -> Asking:
    write_events(path, log)
    letters = "abcdefghijkl"
    items = {
        letter: Item(
            title=letter, price=10.0 * (at + 1), margin=0.5, supplier=SUPPLIERS[at % 3], category=f"c/{at % 4}"
        )
        for at, letter in enumerate(letters)
    }
    whole = Asking(
        events=path,
        items=items,
        scenarios=scenarios,
        towers=Towers(),
        ranker=None,
        settings=RerankTrainingSettings(),
        questions=1000,
        limit=4,
        warm_up=0.5,
        seed=1,
    )
    return replace(whole, **changed)


def names(asked: AskedPages, rows: np.ndarray) -> str:
    return "".join(asked.catalogue.item_ids[row] for row in rows.tolist() if row >= 0)


VISITS = {f"s{at}": "".join("abcdefghijkl"[(at * 5 + step * 7) % 12] for step in range(4)) for at in range(40)}


def test_a_question_knows_what_its_visit_did_from_then_on(tmp_path: Path) -> None:
    log = events({"early": "abcdefgh", "s": "abcC", "t": "ddab"})
    asked = ask(asking(tmp_path / "log.jsonl.zst", log, scenario()), silent())
    # a click on the item clicked just before is none that a page could have shown
    assert [names(asked, row[None]) for row in asked.target] == ["b", "c", "a", "b"]
    assert [names(asked, row) for row in asked.later] == ["bc", "c", "ab", "b"]
    assert [names(asked, row) for row in asked.bought] == ["c", "c", "", ""]
    assert asked.session.tolist() == [0, 0, 1, 1]
    assert asked.clicks.sum() == 8


def test_a_scenario_that_decides_nothing_changes_nothing(tmp_path: Path) -> None:
    log = events(VISITS)
    asked = ask(asking(tmp_path / "log.jsonl.zst", log, scenario(), scenario("mine", base="homepage")), silent())
    old, new = (Judged(asked, at, 4) for at in (0, 1))
    assert (asked.pages[0] == asked.pages[1]).all()
    assert {one.change for one in compared(old, new, seed=1).values() if not np.isnan(one.old)} == {(0.0, 0.0, 0.0)}
    assert [one.fate for one in exposures(old, new)] == ["", "", ""]


def test_a_supplier_that_a_filter_takes_away_is_lost(tmp_path: Path) -> None:
    log = events(VISITS)
    without = scenario(filter='supplier != "Peak" and price < 100')
    asked = ask(asking(tmp_path / "log.jsonl.zst", log, scenario(), without), silent())
    old, new = (Judged(asked, at, 4) for at in (0, 1))
    assert set(names(asked, asked.pages[1].ravel())) <= set("acdfgi")
    found = exposures(old, new)
    assert (found[0].name, found[0].new, found[0].fate) == ("Peak", 0, "lost")
    assert exposures(new, old)[0].fate == "gained"
    figures = compared(old, new, seed=1)
    assert figures["page_price"].new < figures["page_price"].old
    assert figures["gini_supplier"].change.value > 0
    assert new.values["filled"] == 1.0


def test_figures_of_what_nobody_told_cannot_be_told(tmp_path: Path) -> None:
    asked = ask(asking(tmp_path / "log.jsonl.zst", events(VISITS), scenario(), items={}), silent())
    values = Judged(asked, 0, 4).values
    unknown = {name for name, value in values.items() if np.isnan(value)}
    assert unknown == {
        *("hit_price", "hit_margin", "bought_price", "page_price", "page_margin", "diversity"),
        *("gini_supplier", "gini_price_band"),
    }
    assert 0 < values["hit_rate"] <= 1


def test_questions_are_bounded_and_the_same_by_seed(tmp_path: Path) -> None:
    drawn = asking(tmp_path / "log.jsonl.zst", events(VISITS), scenario(), questions=20)
    one, two = ask(drawn, silent()), ask(drawn, silent())
    other = ask(replace(drawn, seed=2), silent())
    assert len(one.session) == len(two.session) == len(other.session) == 20
    assert (one.target == two.target).all()
    assert (one.target != other.target).any()


def test_an_item_out_of_stock_is_not_shown(tmp_path: Path) -> None:
    asked = asking(tmp_path / "log.jsonl.zst", events(VISITS), scenario())
    gone = {**asked.items, "a": asked.items["a"].model_copy(update={"stock": 0})}
    shown = ask(replace(asked, items=gone), silent())
    assert "a" not in names(shown, shown.pages[0].ravel())


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="finds its own items, got 'search'"):
        ask(asking(tmp_path / "log.jsonl.zst", events(VISITS), scenario("search")), silent())
    alone = events({f"s{at}": "a" for at in range(10)})
    with pytest.raises(SettingsError, match="visits of two clicks or more behind the first 50%"):
        ask(asking(tmp_path / "other.jsonl.zst", alone, scenario()), silent())


def test_a_supplier_that_is_shown_least_gets_its_share(tmp_path: Path) -> None:
    log = events(VISITS)
    shown = {
        "v": 1,
        "type": "impression",
        "session_id": "s0",
        "items": list("acdfgij"),
        "ts": MINUTE_MS,
    }  # none of Peak's
    log[1:1] = [{**shown, "event_id": f"i{at}", "request_id": f"r{at}"} for at in range(20)]
    fair = scenario(small_supplier_share=0.5, filter="price != 80")
    asked = ask(asking(tmp_path / "log.jsonl.zst", log, scenario(filter="price != 80"), fair), silent())
    old, new = (Judged(asked, at, 4).shown_by("supplier") for at in (0, 1))
    assert new["Peak"] > old["Peak"]
    assert new["Peak"] >= 0.4 * sum(new.values())
