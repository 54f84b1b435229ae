"""Settings of training: a TOML file that `nextclick tune` writes and the training commands read.

    [session_model]
    learning_rate = 0.01

Its keys are the fields of `session_model.training_settings.TrainingSettings`; what it leaves out is as there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from contracts.errors import SettingsError

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from session_model.training_settings import TrainingSettings

TABLE = "session_model"

SettingsFile = Annotated[
    Path | None, typer.Option("--settings", exists=True, help="TOML with [session_model], as `nextclick tune` writes.")
]


def training_settings(path: Path | None, **chosen: object) -> TrainingSettings:
    """Return the settings of a file, or the defaults, and over them what the command line chose (None: no choice).

    Raises SettingsError, naming the file and the key.
    """
    from session_model.training_settings import TrainingSettings

    told = _read(path) if path is not None else {}
    try:
        return TrainingSettings.model_validate(
            {**told, **{name: one for name, one in chosen.items() if one is not None}}
        )
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in problem["loc"])
        where = f"{path}: [{TABLE}] {name}" if path is not None and name in told else name
        raise SettingsError(
            f"{where}: {problem['msg']}, got {problem.get('input')!r:.60}: docs/settings.md lists every key"
        ) from error


def settings_document(chosen: Mapping[str, object], comment: str) -> str:
    """Return settings as such a file, below a comment."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    return f"{head}\n[{TABLE}]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in chosen.items())


def _read(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected TOML, got something else ({error})") from error
    unknown = sorted(set(document) - {TABLE})
    table = document.get(TABLE, {})
    if unknown or not isinstance(table, dict):
        raise SettingsError(f"{path}: expected one table, [{TABLE}], got {', '.join(unknown) or 'a value'}")
    return table


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {_toml(one)}' for name, one in value.items())} }}"
    raise TypeError(f"expected text, a number or a truth value, got {type(value).__name__}")
