from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import replay.engine.scenario
from contracts.errors import SettingsError
from replay.engine.scenario import Fault, Part, Scenario, most_clicked, read_scenario, timeline

SHIPPED = sorted((Path(replay.engine.scenario.__file__).parent / "scenarios").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_scenario_that_is_shipped_can_be_read(path: Path) -> None:
    scenario = read_scenario(path)
    assert scenario.fault
    assert scenario.name


def test_a_scenario_file_becomes_a_timeline(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        'name = "x"\n[stack]\nsession_workers = 2\n'
        '[[fault]]\nat_s = 20\ndo = "stop"\nwhat = "redis"\nfor_s = 5\n'
        '[[fault]]\nat_s = 22\ndo = "kill"\nwhat = "sessions"\n'
        '[[fault]]\nat_s = 1\ndo = "stock"\ntop = 10\n'
    )
    scenario = read_scenario(tmp_path / "x.toml")
    assert (scenario.stack.session_workers, scenario.stack.gateways) == (2, 1)
    assert [(moment.at_s, moment.fault.name, moment.ends) for moment in timeline(scenario)] == [
        (1.0, "stock of the top 10 set to 0", False),
        (20.0, "stop redis for 5 s", False),
        (22.0, "kill sessions", False),
        (25.0, "stop redis for 5 s", True),
    ]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ('at_s = 1\ndo = "kill"', "fault.1: .*kill needs a 'what'"),
        ('at_s = 1\ndo = "stop"\nwhat = "redis"', "stop needs 'for_s'"),
        ('at_s = 1\ndo = "kill"\nwhat = "disk"', "fault.1.what: "),
        ('at_s = 1\ndo = "restart"\nwhat = "redis"', "expected kill or stop"),
        ('at_s = -1\ndo = "stock"', "fault.1.at_s"),
        ('at_s = 1\ndo = "stock"\ntpo = 3', "fault.1.tpo"),
        ("at_s = ", "expected TOML"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_its_place(tmp_path: Path, fault: str, problem: str) -> None:
    (tmp_path / "x.toml").write_text(f'name = "x"\n[[fault]]\n{fault}\n')
    with pytest.raises(SettingsError, match=problem):
        read_scenario(tmp_path / "x.toml")


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected a scenario file"):
        read_scenario(tmp_path / "nowhere.toml")


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 10)), max_size=8))
def test_the_timeline_is_in_order_and_ends_everything_that_it_stops(stops: list[tuple[float, float]]) -> None:
    faults = tuple(Fault(at_s=at_s, do="stop", what=Part.ITEMS, for_s=for_s) for at_s, for_s in stops)
    moments = timeline(Scenario(name="x", fault=faults))
    assert [moment.at_s for moment in moments] == sorted(moment.at_s for moment in moments)
    for number in range(1, len(faults) + 1):
        mine = [moment.ends for moment in moments if moment.number == number]
        assert mine == [False, True]


def test_the_top_items_are_those_clicked_most() -> None:
    clicks = ["a", "b", "b", "c", "c", "d"]
    recorded = [orjson.dumps({"type": "view", "item_id": item}) for item in clicks]
    recorded.append(orjson.dumps({"type": "impression", "items": ["d", "d", "d"]}))
    assert most_clicked(recorded, 3) == ["b", "c", "a"]
