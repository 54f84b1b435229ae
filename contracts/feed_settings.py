"""Settings of feeds: what is pulled again and again from a shop's exports."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from contracts.backends import Group


class FeedOptions(Group):
    folder: str = Field(
        default="", description="Where feeds, and what was last seen of them, are kept; empty: `feeds` in stack.folder."
    )
    may_lose: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Share of its items that a feed may lack at once; more is held back until it is confirmed.",
    )
    most_per_s: float = Field(
        default=200.0,
        gt=0,
        le=100_000,
        description="Changes that a feed makes in a second, at most, while gateways are asked for recommendations.",
    )
    quiet_per_s: float = Field(
        default=5000.0,
        gt=0,
        le=100_000,
        description="The same while they are asked for less than one a second.",
    )
    busy_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the time that a gateway works at a feed's changes, at most, while it is asked: a slow "
        "one is asked less.",
    )
    batch: int = Field(
        default=20, ge=1, le=1000, description="Changes that are sent together, while gateways are asked."
    )
    quiet_batch: int = Field(default=1000, ge=1, le=1000, description="The same while they are asked for nothing.")
    most_bytes: int = Field(
        default=4_000_000_000, ge=1, description="Bytes of a feed, at most, as they come and decompressed."
    )
    most_time: timedelta = Field(
        default=timedelta(hours=1), gt=timedelta(0), description="How long a feed may take to come, all in all."
    )
    wait: timedelta = Field(
        default=timedelta(seconds=30), gt=timedelta(0), description="How long nothing may come of a feed."
    )
    redirects: int = Field(default=5, ge=0, le=20, description="Redirects that are followed.")
    report: int = Field(default=1000, ge=0, le=100_000, description="Faults of a pull that are kept, the first ones.")
