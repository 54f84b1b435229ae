"""The choices that a replay leaves open, as words for the command line. Imports nothing, so that help is quick."""

from __future__ import annotations

from enum import StrEnum


class Into(StrEnum):
    """Where events go."""

    GATEWAY = "gateway"
    LOG = "log"
    """Straight into the event log, past the gateway."""


class Times(StrEnum):
    """Which timestamps events carry."""

    LIVE = "live"
    """The moment at which the event is due in the run."""
    RECORDED = "recorded"


class Ask(StrEnum):
    """When a visitor's recommendations are asked for."""

    CLICK = "click"
    """Just before the next click, by the page that it leaves."""
    PAGE = "page"
    """When a page opens, whether a click follows or not."""


class SeenItems(StrEnum):
    """Whether the gateway recommends what the session has clicked; where it does not, it cannot hit a repeat."""

    HIDDEN = "hidden"
    SHOWN = "shown"


class ExportTo(StrEnum):
    """The load tool to write a schedule for."""

    VEGETA = "vegeta"
    K6 = "k6"


GATEWAY = "gateway"
"""The name of the gateway's answers beside those of the baselines."""
