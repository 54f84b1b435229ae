from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.files import read_raw
from replay.importers import Globo, Hours, import_log
from replay.order import OrderTarget
from replay.pacer import TimesFaster
from replay.play import Limits, Player
from replay.schedule import Planned, Rewriting, schedule

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
