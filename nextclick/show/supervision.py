"""What the supervisor says of its parts, for people."""

from __future__ import annotations

from contracts.logs import log_as


def log_with_time(command: str = "up") -> None:
    """Have what the supervisor says of its parts on stderr, each line with its time, level and process."""
    log_as(command)
