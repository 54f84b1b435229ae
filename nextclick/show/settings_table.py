"""The settings reference, generated from the settings classes: `docs/settings.md` is its output."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from compiled.cache import VARIABLE
from contracts.api_keys import VARIABLE as API_KEY
from contracts.settings import ServiceSettings
from flows.settings import FlowSettings
from gateway.settings import GatewaySettings
from learning.training_settings import RerankTrainingSettings
from learning.users.settings import UserSettings
from nextclick.show.setting_names import leaves
from nextclick.stack.settings import StackSettings
from session_model.training_settings import TrainingSettings

SERVICES: dict[str, type[ServiceSettings]] = {
    "gateway": GatewaySettings,
    "flows": FlowSettings,
    "stack": StackSettings,
}

OTHERS = {VARIABLE, API_KEY, "NEXTCLICK_KAFKA", "NEXTCLICK_REQUIRE_KAFKA", "NEXTCLICK_GATEWAY_PARENT"}
"""Variables of the tests, of our own processes and clients, and of compiled kernels."""

HEAD = """# Settings

Every service reads its settings once, when it starts: arguments first, then the environment, then the TOML file named
by `NEXTCLICK_CONFIG` (default `nextclick.toml`), then the defaults below. `nextclick settings` prints this page.

`NEXTCLICK_KERNEL_CACHE` names the folder for loops that are compiled once for this machine, instead of
`nextclick/kernels` in the user's cache folder. It must be writable by this user alone.

`NEXTCLICK_API_KEY` holds the API key that our own clients send (`nextclick items load`, `nextclick replay ...`), where
`--key-file` names no other ([security](security.md)).

In TOML a group is a table: `NEXTCLICK_REDIS__URL=...` is `url = "..."` under `[redis]`.
Durations are ISO 8601: `PT90S`, `PT2H`. A list has commas between its words (`https://a.example,https://b.example`), or
is JSON (`["a", "b"]`); a table is a JSON object.
`nextclick up` and the demo decide the gateway's host and port themselves: there the `STACK` ones count.

| environment | default | read by | what it does |
|---|---|---|---|
"""

TRAINING = """

## Training

No service reads these. A TOML file holds those that differ under `[session_model]`, `[reranker]` and
`[user_models]`: `--settings` names it, and `nextclick tune` writes one.

"""
KEYS = """| key of `[{table}]` | default | what it does |
|---|---|---|
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
    trainings: dict[str, type[BaseModel]] = {
        "session_model": TrainingSettings,
        "reranker": RerankTrainingSettings,
        "user_models": UserSettings,
    }
    tables = [_keys(table, kind) for table, kind in trainings.items()]
    return HEAD + "\n".join(lines) + TRAINING + "\n\n".join(tables)


def _keys(table: str, kind: type[BaseModel]) -> str:
    rows = [
        f"| `{name.lower().replace('__', '.')}` | {default} | {description} |"
        for name, default, description in _leaves(kind, "")
    ]
    return KEYS.format(table=table) + "\n".join(rows)


def _leaves(kind: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in leaves(kind, prefix):
        yield name, _shown_default(field), field.description or ""


def _shown_default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is None or default == "" or default == ():
        return "(empty)"
    shown = TypeAdapter(field.rebuild_annotation()).dump_json(default).decode()
    return f"`{shown.strip(chr(34))}`"


def unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """Return a line for every NEXTCLICK_ variable that no service reads, with the name that was probably meant."""
    known = {name for kind in SERVICES.values() for name, _, _ in _leaves(kind, "NEXTCLICK_")} | {"NEXTCLICK_CONFIG"}
    lines = []
    for name in sorted(environment):
        group = any(name.startswith(f"{one}__") or one.startswith(f"{name}__") for one in known)
        if not name.startswith("NEXTCLICK_") or name in known or name in OTHERS or group:
            continue
        near = difflib.get_close_matches(name, sorted(known), 1)
        lines.append(f"{name} is no setting" + (f": did you mean {near[0]}?" if near else ", and nothing reads it"))
    return lines
