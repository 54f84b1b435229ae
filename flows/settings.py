"""Settings of the flows: one frozen object, read once, when a flow's module is imported."""

from __future__ import annotations

from pydantic import Field

from contracts.settings import Group, ServiceSettings
from state.restore_mark import expect_whole


class FlowOptions(Group):
    batch_records: int = Field(
        default=1000, ge=1, le=100_000, description="Most records of one partition applied together."
    )
    poll_wait_ms: int = Field(
        default=20,
        ge=1,
        description="How long a worker waits in the log when nothing is there; while that lasts twice as long each "
        "time, up to half a second. A record ends the wait.",
    )
    outage_pause_ms: int = Field(
        default=250, ge=1, description="Pause before asking an unreachable log or Redis again."
    )
    catalogue_refresh_ms: int = Field(
        default=50, ge=0, description="How often a session worker looks for new item vectors."
    )
    max_future_ms: int = Field(
        default=300_000, ge=0, description="Events further ahead of the clock are dead-lettered."
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="As `metrics.port`, of the processes of flows alone; 0: as that says.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="With `flow.metrics_port`: the address that listens.")
    addresses: str = Field(
        default="",
        description="As `nextclick flow --address`: HOST:PORT of each machine of a flow, in one order everywhere, with "
        "commas between. They belong in a private network: Bytewax's ports know no key and no TLS.",
    )
    index: int = Field(
        default=0,
        ge=0,
        description="As `nextclick flow --index`: which of the addresses is this machine's, from 0.",
    )
    member: str = Field(
        default="",
        max_length=200,
        description="Set by `nextclick flow`: the name under which this process shares the partitions with others. "
        "Empty: all are its own.",
    )


class FlowSettings(ServiceSettings):
    """What the sessions, items, trends, profiles, attribution and quality flows read."""

    flow: FlowOptions = FlowOptions()


def settings_on_whole_state() -> FlowSettings:
    """Return the settings of a flow that starts. Raises RestoreUnderWay where its Redis holds half of a backup."""
    settings = FlowSettings()
    expect_whole(settings.redis)
    return settings
