"""Settings of the embedded stack: which processes to start, and where they keep their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

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


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given: None says that one was not, and must not override any setting."""
    return {name: value for name, value in options.items() if value is not None}


def up_settings(
    *, artifacts: str | None = None, build_index: bool | None = None, **stack: object | None
) -> StackSettings:
    """Return what `nextclick up` runs: an option that was given, else environment, TOML file, default.

    `stack` are fields of `StackOptions`. Snapshots of the index are built unless an option or a setting says otherwise.
    """
    settings = StackSettings(stack=given(**stack), index=given(builder=build_index), **given(artifacts=artifacts))
    if "builder" in settings.index.model_fields_set:
        return settings
    return settings.model_copy(update={"index": settings.index.model_copy(update={"builder": True})})


def gateway_url() -> str:
    """Return where the settings have `nextclick up` serve: what commands call that were given no address."""
    stack = StackSettings().stack
    host = "127.0.0.1" if stack.host in ("0.0.0.0", "::", "") else stack.host
    return f"http://[{host}]:{stack.port}" if ":" in host else f"http://{host}:{stack.port}"
