"""Two trees in turns: what their figures become."""

from __future__ import annotations

import pytest

from nextclick.bench.pair import compared
from nextclick.bench.serving_runs import RatePoint


def point(**cpu_us: float) -> RatePoint:
    return RatePoint(100.0, 400, 400, 4.0, 5.0, 7.0, 0, 0, 0.0, cpu_us, 900.0)


def test_the_ratio_is_that_of_turns_so_that_noise_of_both_falls_out() -> None:
    was = [point(gateway=1000.0 * noise, redis=1000.0 * noise) for noise in (1, 2, 5)]
    now = [point(gateway=1000.0 * noise, redis=1200.0 * noise) for noise in (1, 2, 5)]
    rows = {row.name: row.value for row in compared(100, [was, now])}
    ratio = [rows[f"100/s: {name}"] for name in ("this by the other", "from", "to")]
    assert ratio == pytest.approx([1.1, 1.1, 1.1])
    assert rows["100/s: redis, this tree"] == 2400.0
    assert rows["100/s: this tree, median"] == 4400.0
