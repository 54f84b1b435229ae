"""Settings of erasures, which gateways carry out and a restore reads."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from contracts.backends import Group


class ErasureOptions(Group):
    ledgers: tuple[str, ...] = Field(
        default=(), description="Folders of `nextclick kpi export`: those who are erased are taken out of them."
    )
    campaigns: str = Field(
        default="",
        description="Folder of picks for audiences beside those that campaigns wrote on a gateway's machine, which are "
        "known: those who are erased are taken out of its files.",
    )
    list: str = Field(
        default="",
        description="File that holds all erasures (keyed hashes, no names) beside Redis: `nextclick restore` reads it, "
        "so that nobody comes back with a backup. The stack keeps `erasures.json` in its folder.",
    )
    keep: timedelta = Field(
        default=timedelta(days=400),
        ge=timedelta(days=1),
        description="Erasures are kept so long: longer than the oldest backup that may be restored.",
    )
