from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from eventlog.files import read_raw, write_events
from nextclick.bench.replay_globo import play_rows
from replay.engine.order import OrderTarget, RecordedOrder
from replay.engine.pacer import TimesFaster
from replay.engine.play import Limits, Player
from replay.engine.schedule import Planned, Rewriting, schedule
from replay.importers import Globo, Hours, import_log
from tests.replay.test_live import click

GLOBO = Path(__file__).parents[3] / "shared" / "data" / "globo" / "clicks.zip"


def plan(events: int, sessions: int, *, every_s: float) -> Iterator[Planned]:
    for n in range(events):
        session = f"s{n * n % sessions}"
        fields = {"event_id": f"e{n}", "session_id": session, "type": "view", "item_id": "i", "ts": n}
        yield Planned(n, n * every_s, session, fields)


async def test_sessions_that_click_faster_than_the_target_answers_stay_in_order() -> None:
    taking = OrderTarget(seed=1)
    player = Player(taking, limits=Limits(connections=16, batch=5))
    played = await player.play(taking.watched(plan(5000, 40, every_s=0.0002)))
    assert (played.accepted, taking.out_of_order) == (5000, 0)


async def test_the_check_notices_events_that_change_places() -> None:
    taking = OrderTarget(seed=1, slowest_s=0.0)
    first, second = list(taking.watched(plan(2, 1, every_s=0.1)))
    await taking.send([second.fields])
    await taking.send([first.fields])
    assert taking.out_of_order == 1


def recorded(places: str) -> Iterator[bytes]:
    """`a1 b1 a2`: session a's first event, session b's, session a's second."""
    for place in places.split():
        yield orjson.dumps({"session_id": place[0], "event_id": place, "ts": 1})


@pytest.mark.parametrize(
    ("arriving", "out_of_order", "unknown"),
    [
        ("a1 b1 a2 b2 a3", 0, 0),
        ("b1 b2 a1 a2 a3", 0, 0),  # sessions may overtake each other
        ("a1 a3 a2 b1 b2", 1, 0),
        ("a2 a1 a3 b2 b1", 2, 0),
        ("a1 a1 a2 c1 b1 b2 a3", 0, 2),  # one twice, one that is not recorded
    ],
)
def test_what_arrives_is_checked_against_the_recording(arriving: str, out_of_order: int, unknown: int) -> None:
    order = RecordedOrder(recorded("a1 b1 a2 b2 a3"), "r7")
    for place in arriving.split():
        order.take({"session_id": f"r7-{place[0]}", "event_id": f"r7-{place}"})
    assert (order.taken, order.out_of_order, order.unknown) == (len(arriving.split()), out_of_order, unknown)


def test_the_recording_is_read_no_further_than_what_arrived() -> None:
    lines = recorded("a1 a2 b1 a3")
    order = RecordedOrder(lines, "r")
    order.take({"session_id": "r-a", "event_id": "r-a2"})
    assert [orjson.loads(line)["event_id"] for line in lines] == ["b1", "a3"]


def test_a_target_in_another_process_finds_every_session_in_order(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl.zst"
    write_events(path, [click(n, f"s{n * n % 7}", "i") for n in range(300)])
    rows = {row.name: row.value for row in play_rows(path, tmp_path / "result.json", 50.0, 5.0, 300)}
    assert rows["clicks played at 50 times"] == rows["of them seen by the target, in another process"] == 300.0
    assert (rows["out of their session's order"], rows["not in the recording, or twice"]) == (0.0, 0.0)


@pytest.mark.slow
async def test_recorded_clicks_at_a_thousand_times_stay_in_their_sessions_order(tmp_path: Path) -> None:
    if not GLOBO.exists():
        pytest.skip("the Globo clicks are not there (../shared/data/globo/clicks.zip)")
    path = tmp_path / "hours.jsonl.zst"
    events = import_log(Globo(), GLOBO, path, hours=Hours(0, 3)).header.events
    taking = OrderTarget(seed=2)
    schedule_ = schedule(read_raw(path), TimesFaster(1000.0), Rewriting("r"), start_ms=0)
    played = await Player(taking, limits=Limits(connections=64, batch=20)).play(taking.watched(schedule_))
    assert (played.accepted, taking.out_of_order) == (events, 0)
    assert events > 1000
