"""How Bytewax is told to keep the trends flow's state: one place, for the stack and for the flow. Loads no Bytewax."""

from __future__ import annotations

from pathlib import Path

SNAPSHOT_S = 20
"""Seconds between snapshots of the state: how much may have to be counted again after a crash."""


def recovery_arguments(folder: Path) -> list[str]:
    """Return `bytewax.run`'s arguments for a recovery store in `folder`; `flows.trend_recovery` makes the store."""
    return ["-r", str(folder), "-s", str(SNAPSHOT_S), "-b", "0"]
