from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contracts.errors import NextclickError
from contracts.settings import ServiceSettings
from eventlog.files import write_events
from replay.engine.clone import Clones
from replay.engine.options import PlayOptions, Questions
from replay.engine.pacer import FixedRate
from replay.engine.play import Limits, Snapshot
from replay.engine.run import play_recording
from replay.engine.workers import together
from replay.measure.hit_rates import ALL
from replay.measure.timings import Timings
from tests.replay.target_server import Arrivals, target_server
from tests.replay.test_live import answer, click


def recording(folder: Path, events: int, sessions: int) -> Path:
    path = folder / "day.jsonl.zst"
    write_events(path, [click(n, f"s{n % sessions}", f"i{n % 7}") for n in range(events)])
    return path


@pytest.mark.slow
async def test_workers_play_every_event_once_each_session_in_order_and_merge_what_they_counted(tmp_path: Path) -> None:
    arrivals = Arrivals(recommend=lambda asked: answer("i1", "i2"))
    path, timings = recording(tmp_path, 600, 30), tmp_path / "times.npz"
    told: list[Snapshot] = []
    async with target_server(arrivals) as (_, url):
        options = PlayOptions(
            path, url, pace=FixedRate(300), run="r", workers=2, questions=Questions(), timings=timings, clones=Clones(2)
        )
        result = await play_recording(options, ServiceSettings(), progress=told.append)
    assert (result.accepted, result.lost, result.scheduled, result.workers) == (1200, 0, 1200, 2)
    assert len(set(arrivals.ids())) == len(arrivals.ids()) == 1200
    for ids in arrivals.by_session().values():
        numbers = [int(name.removeprefix("r-e").partition("~")[0]) for name in ids]
        assert numbers == sorted(numbers)
    assert result.answers is not None
    assert result.answers.questions == 1200 - 60  # all but the first click of 30 sessions, twice
    assert result.hit_rates is not None
    assert {tally.cases for tally in result.hit_rates.tallies[ALL].values()} == {1140}
    assert (result.histograms["events"].count, result.histograms["answers"].count) == (1200, 1140)
    assert sum(result.series["count"]) == 1200
    assert sum(result.series["answers_count"]) == 1140
    assert sum(result.series["answers_hits"]) == result.answers.hits > 0
    assert {name: len(column) for name, column in np.load(timings).items()} == {
        **dict.fromkeys(("intended_s", "sent_s", "done_s"), 1200),
        **dict.fromkeys(("ask_intended_s", "ask_sent_s", "ask_done_s"), 1140),
    }
    assert told[-1].settled == 1200


async def test_a_worker_that_cannot_play_says_why(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    write_events(path, [click(0, "s", "i")])
    options = PlayOptions(path, "ftp://nowhere", pace=FixedRate(300), workers=2, limits=Limits(connections=2))
    with pytest.raises(NextclickError, match=r"worker \d: expected a URL such as .*, got 'ftp://nowhere'"):
        await play_recording(options, ServiceSettings())


def test_how_workers_stand_adds_up() -> None:
    one = Snapshot(1.0, 10, 8, 1, 0, 1, 1, 0, 0.5, questions=4, hits=2, p50_ms=3.0, p99_ms=9.0)
    two = Snapshot(1.2, 20, 18, 0, 1, 1, 1, 3, 0.1, questions=6, hits=1, p50_ms=4.0, p99_ms=7.0)
    both = together([one, two])
    assert both == Snapshot(1.2, 30, 26, 1, 1, 2, 2, 3, 0.5, questions=10, hits=3, p50_ms=4.0, p99_ms=9.0)


def test_the_latest_latencies_are_those_of_the_last_entries() -> None:
    timings = Timings()
    assert timings.latest_ms(10) == (0.0, 0.0)
    for n in range(100):
        timings.add(float(n), float(n), n + (1.0 if n < 90 else 0.002))
    assert timings.latest_ms(10) == pytest.approx((2.0, 2.0))
    assert timings.latest_ms(1000) == pytest.approx((1000.0, 1000.0))
