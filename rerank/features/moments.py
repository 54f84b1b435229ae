"""Hour, weekday and season features: when the candidate is clicked. Optional: see `features.parts`."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from rerank.calendar import DAY_MS, HOUR_MS
from rerank.features.block import ANY, Columns, Feature, block
from rerank.features.inputs import Inputs

Float32s = NDArray[np.float32]

_UNKNOWN: Final = "the calendar has neither the item nor its category"


@block(
    Feature(
        "hour_lift",
        "log(clicks on the candidate in this hour of the day / those that its clicks would make if it were clicked as "
        "all items are, while it was there), smoothed",
        ANY,
        nan=_UNKNOWN,
    ),
    Feature("hour_of_day", "hours since midnight UTC when the request was made", (0, 24)),
)
def hour(out: Columns, inputs: Inputs) -> None:
    """At which hours the candidate is clicked, by the calendar of the training. `hour_of_day` describes the request."""
    out["hour_lift"] = _lifts("hour", inputs)
    out["hour_of_day"] = inputs.now_ms % DAY_MS / HOUR_MS


@block(Feature("weekday_lift", "as `hour_lift`, of this day of the week", ANY, nan=_UNKNOWN))
def weekday(out: Columns, inputs: Inputs) -> None:
    """On which weekdays the candidate is clicked, by the calendar of the training."""
    out["weekday_lift"] = _lifts("weekday", inputs)


@block(Feature("season_lift", "as `hour_lift`, of this week of the year", ANY, nan=_UNKNOWN))
def season(out: Columns, inputs: Inputs) -> None:
    """In which weeks of the year the candidate is clicked, by the calendar of the training."""
    out["season_lift"] = _lifts("season", inputs)


def _lifts(cycle: str, inputs: Inputs) -> Float32s:
    calendar, places = inputs.in_calendar
    return calendar.log_lifts(cycle, places, inputs.now_ms)
