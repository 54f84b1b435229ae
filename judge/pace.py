"""When an experiment is looked at. Pure."""

from __future__ import annotations

from typing import Final

from contracts.experiments import ExperimentVersion

LARGEST_SHARE: Final = 0.05
"""Of a processor, that the looks at one experiment take."""


def is_judged(version: ExperimentVersion, now_ms: int, after_ms: int) -> bool:
    """Say whether an experiment is looked at: from its start until it is stopped, or `after_ms` after its end, as long
    as units may still buy what they were shown.
    """
    return version.stopped_ms is None and version.begins_ms <= now_ms < version.ends_ms + after_ms


def next_look_s(every_s: float, took_s: float) -> float:
    """Return how long after a look's begin the next one is due."""
    return max(every_s, took_s / LARGEST_SHARE)
