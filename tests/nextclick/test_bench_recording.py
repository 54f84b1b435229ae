"""The benchmark of recording drives two real gateways of one stack, and one of them records."""

from __future__ import annotations

import pytest

from nextclick.bench.recording import recording_rows


@pytest.mark.slow
def test_all_that_is_sent_to_the_recording_gateway_is_recorded_and_both_are_measured() -> None:
    rows = {row.name: row for row in recording_rows(50.0, 0.4, 2)}
    recorded = rows.pop("events recorded, of 60 at 50/s")
    assert (recorded.value, recorded.met) == (60.0, True)
    assert [name for name in rows if name.endswith("on over off")] == [
        "event, p50 from sending, recording on over off",
        "event, p99 from sending, recording on over off",
        "processor time an event, recording on over off",
    ]
    assert all(row.value > 0 for name, row in rows.items() if name.startswith("event"))
