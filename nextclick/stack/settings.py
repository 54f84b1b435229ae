"""Settings of the embedded stack: which processes to start, and where they keep their files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from contracts.settings import Group, ServiceSettings


class StackOptions(Group):
    folder: Path = Field(default=Path(".nextclick/stack"), description="Where Redis's files and the logs go.")
    host: str = Field(default="127.0.0.1", description="Address that the gateway listens on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port that the gateway listens on; 0 takes a free one.")
    gateways: int = Field(default=1, ge=1, le=64, description="Gateway processes; they share the port.")
    session_workers: int = Field(default=1, ge=1, le=64, description="Processes of the sessions flow.")
    embedded_redis: bool = Field(
        default=True, description="Start a Redis of our own; off: use NEXTCLICK_REDIS__URL as it is."
    )
    redis_fsync: Literal["everysec", "always"] = Field(
        default="everysec",
        description="When the machine dies: all but its last second survives, or all.",
    )
    demo_page: bool = Field(default=False, description="Serve the demo page at /.")


class StackSettings(ServiceSettings):
    """What `nextclick up` reads."""

    stack: StackOptions = StackOptions()
