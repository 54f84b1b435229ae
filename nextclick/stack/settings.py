"""Settings of the embedded stack: which processes to start, and where they keep their files.

Every command obeys one order: an option that was given, the environment, the TOML file, the default. So an option that
a setting stands behind has no default of its own, and `with_given` lays what was given over what the settings say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from contracts.addresses import HttpAddress
from contracts.errors import SettingsError
from contracts.feed_settings import FeedOptions
from contracts.settings import Group, ServedTls, ServiceSettings, wrong_setting
from nextclick.stack.stack_processes import stack_processes

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Addresses that mean all of a machine's own, and what reaches them from the machine itself."""

OWN_REDIS: Mapping[str, object] = {
    **{"kind": "single", "nodes": (), "wait_replicas": 0},
    **{"tls_ca": "", "tls_certificate": "", "tls_key": ""},
}
"""What is told of the stack's own Redis, whatever is set for others: it is one, without replicas, and speaks no TLS."""


class StackOptions(Group):
    folder: Path = Field(default=Path(".nextclick/stack"), description="Where Redis's files and the logs go.")
    host: str = Field(default="127.0.0.1", description="Address that the gateway listens on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port that the gateway listens on; 0 takes a free one.")
    gateways: int = Field(default=1, ge=1, le=64, description="Gateway processes; they share the port.")
    session_workers: int = Field(default=1, ge=1, le=64, description="Processes of the sessions flow.")
    embedded_redis: bool = Field(
        default=True, description="Start a Redis of our own; off: use NEXTCLICK_REDIS__URL as it is."
    )
    redis_max_bytes: int = Field(
        default=0,
        ge=0,
        description="Memory of the embedded Redis; 0 is half of the machine's, or of its container's. At that the "
        "sessions go that were used least lately; when none is left, writes get 503.",
    )
    redis_fsync: Literal["everysec", "always"] = Field(
        default="everysec",
        description="When the machine dies: all but its last second survives, or all.",
    )
    demo_page: bool = Field(default=False, description="Serve the demo page at /.")


class StackSettings(ServiceSettings):
    """What `nextclick up` reads."""

    stack: StackOptions = StackOptions()
    feeds: FeedOptions = FeedOptions()
    gateway: ServedTls = ServedTls()

    def own_url(self, port: int) -> str:
        """Return where this machine reaches a gateway that listens on the port."""
        host = ANY_ADDRESS.get(self.stack.host, self.stack.host)
        return f"{self.gateway.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


Read = TypeVar("Read", bound=ServiceSettings)


def with_given(settings: Read, given: Mapping[str, object]) -> Read:
    """Return the settings with what options gave, by the setting's name (`artifacts`, `stack.port`). None is an option
    that was left out: the setting stays. Raises KeyError for a name that is no setting, SettingsError for a value
    that is none of its.
    """
    by_group: dict[str, dict[str, object]] = {}
    for name, value in given.items():
        group, _, key = name.rpartition(".")
        description_of(type(settings), name)  # is there one?
        if value is not None:
            by_group.setdefault(group, {})[key] = value
    changed = by_group.pop("", {})
    for group, values in by_group.items():
        held: BaseModel = getattr(settings, group)
        try:
            changed[group] = type(held).model_validate({**held.model_dump(), **values})
        except ValidationError as error:
            raise wrong_setting(error, group) from error
    return settings.model_copy(update=changed)


def description_of(kind: type[BaseModel], name: str) -> str:
    """Return the description of a setting by its name. Raises KeyError where there is none."""
    group, _, key = name.rpartition(".")
    if group:
        found = kind.model_fields[group].annotation
        assert isinstance(found, type)
        assert issubclass(found, BaseModel)
        kind = found
    return kind.model_fields[key].description or ""


def value_of(settings: ServiceSettings, name: str) -> object:
    """Return the value of a setting by its name."""
    group, _, key = name.rpartition(".")
    return getattr(getattr(settings, group) if group else settings, key)


def up_settings(given: Mapping[str, object]) -> StackSettings:
    """Return what `nextclick up` runs with, `given` by name as for `with_given`. It builds snapshots of the index
    unless something says that it does not.
    """
    settings = StackSettings()
    if "builder" not in settings.index.model_fields_set:
        settings = with_given(settings, {"index.builder": True})
    return with_given(settings, given)


def demo_settings(folder: Path, artifacts: Path, port: int | None) -> StackSettings:
    """Return what the demo runs with: files and Redis of its own, its own models, and the demo page; else as `up`."""
    own = {"stack.folder": folder, "stack.embedded_redis": True, "stack.demo_page": True, "artifacts": str(artifacts)}
    return with_given(StackSettings(), {**own, "stack.port": port})


def gateway_url(given: str | None = None) -> str:
    """Return the address of the gateway to talk to: the given one, where the settings say that it listens, or, where
    they name no port, that of the stack that runs in their folder.

    Raises SettingsError when they say that it takes any free port and no stack runs, and for what is no address.
    """
    if given is not None:
        return HttpAddress.of(given).url
    settings = StackSettings()
    if "port" not in settings.stack.model_fields_set or settings.stack.port == 0:
        settings = _as_it_runs(settings)
    stack = settings.stack
    if stack.port == 0:
        raise SettingsError("expected the gateway's port, got NEXTCLICK_STACK__PORT 0, a free one: give --url")
    return settings.own_url(stack.port)


def _as_it_runs(settings: StackSettings) -> StackSettings:
    """Return the settings with the port, and a host that they do not name, of the stack that runs in their folder."""
    found = stack_processes(settings.stack.folder)
    started = found.gateway if found is not None else {}
    is_named = "host" in settings.stack.model_fields_set
    host = None if is_named else started.get("NEXTCLICK_GATEWAY__HOST")
    return with_given(settings, {"stack.port": started.get("NEXTCLICK_GATEWAY__PORT"), "stack.host": host})
