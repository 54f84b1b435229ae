"""The engine's percentiles beside those of vegeta (T. Senart), which drives the same requests into the same target."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nextclick.bench.drive import drive, evenly, target
from nextclick.bench.other_tools import VEGETA, NoTool, ToolSays, find_or_build, vegeta
from nextclick.bench.replay import disagreement
from replay.engine.export import export_vegeta, rendered
from replay.engine.template import GATEWAY_TEMPLATE
from replay.measure.timings import Percentiles

RATE, SECONDS, PAIRS, ENOUGH = 307, 2.0, 8, 3  # a rate off the grid of whole milliseconds, as timers are on it
QUIET_MS = 1.0
MARGIN = 3.0  # what is allowed, so many times: the figure itself is the benchmark's, on a quiet machine


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.alone
def test_percentiles_agree_with_vegeta(tmp_path: Path) -> None:
    """In turns; a pair counts when the engine sent on time, which it does not on a busy machine."""
    try:
        binary = find_or_build(VEGETA)
    except NoTool as reason:
        pytest.skip(str(reason))
    ours: list[Percentiles] = []
    theirs: list[ToolSays] = []
    with target("--wait-ms", "4", "20") as url:
        targets = tmp_path / "targets.jsonl"
        count = round(RATE * SECONDS)
        assert export_vegeta(rendered(evenly(RATE, count), GATEWAY_TEMPLATE, url), targets) == count
        for _ in range(PAIRS):
            driven, told = drive(url, RATE, count, pinned=False), vegeta(binary, targets, RATE, SECONDS, 64)
            assert driven.played.accepted == count
            if driven.error_ms < QUIET_MS and told.requests > 0.95 * count:  # it stops by the clock
                ours.append(driven.played.timings.latency())
                theirs.append(told)
            if len(ours) == ENOUGH:
                break
    if len(ours) < ENOUGH:
        pytest.skip(f"the machine is too busy to compare (load {os.getloadavg()[0]:.1f}): requests left late")
    for name in ("p50", "p99"):
        here, there = ([getattr(one, name) for one in each] for each in (ours, theirs))
        assert disagreement([min(here)], [min(there)]) <= MARGIN, (name, here, there)  # a pause makes neither smaller


def test_a_stall_of_two_seconds_shows_from_the_intended_time_and_hides_from_the_sent_time() -> None:
    """1,000 requests a second from one process into a target in another, which answers nothing for 2 s."""
    with target("--stall-s", "0.5", "2.5") as url:
        played = drive(url, 1000.0, 4000, connections=32, pinned=False).played
    latency, service = played.timings.latency(), played.timings.service()
    assert played.accepted == 4000
    assert latency.p99 > 1800
    assert latency.max > 1900
    assert service.p90 < latency.p99 / 4
