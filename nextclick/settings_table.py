"""The settings reference, generated from the settings classes: `docs/settings.md` is its output."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from contracts.settings import ServiceSettings
from flows.settings import FlowSettings
from gateway.settings import GatewaySettings
from nextclick.settings import StackSettings

SERVICES: dict[str, type[ServiceSettings]] = {
    "gateway": GatewaySettings,
    "flows": FlowSettings,
    "stack": StackSettings,
}

HEAD = """# Settings

Every service reads its settings once, when it starts: arguments first, then the environment, then the TOML file named
by `NEXTCLICK_CONFIG` (default `nextclick.toml`), then the defaults below. `nextclick settings` prints this page.

In TOML a group is a table: `NEXTCLICK_REDIS__URL=...` is `url = "..."` under `[redis]`.

| environment | default | read by | what it does |
|---|---|---|---|
"""


def settings_table() -> str:
    """Return the settings reference as Markdown."""
    rows: dict[str, tuple[str, str, list[str]]] = {}
    for service, kind in SERVICES.items():
        for name, default, description in _leaves(kind, "NEXTCLICK_"):
            rows.setdefault(name, (default, description, []))[2].append(service)
    lines = [
        f"| `{name}` | {default} | {', '.join(services) if len(services) < len(SERVICES) else 'all'} | {description} |"
        for name, (default, description, services) in rows.items()
    ]
    return HEAD + "\n".join(lines)


def _leaves(kind: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _leaves(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}", _shown_default(field), field.description or ""


def _shown_default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is None or default == "" or default == ():
        return "(empty)"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
