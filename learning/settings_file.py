"""Settings of training: a TOML file that `nextclick tune` writes and the training commands read.

    [session_model]
    learning_rate = 0.01

    [reranker]
    trees = 250
    trend = { half_life = "P32D" }

Its keys are the fields of `session_model.training_settings.TrainingSettings`, of
`learning.training_settings.RerankTrainingSettings`, and below `[user_models]` of
`learning.users.settings.UserSettings`; what it leaves out is as there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from contracts.errors import SettingsError
from contracts.toml import toml_of
from learning.training_settings import RerankTrainingSettings
from learning.users.settings import UserSettings
from session_model.training_settings import TrainingSettings

TABLE = "session_model"
RERANKER = "reranker"
USER_MODELS = "user_models"

One = TypeVar("One", bound=BaseModel)


def training_settings(path: Path | None, **chosen: object) -> TrainingSettings:
    """Return the settings of a file, or the defaults, and over them what the command line chose (None: no choice).

    Raises SettingsError, naming the file and the key.
    """
    return _settings(TrainingSettings, path, TABLE, chosen)


def reranker_settings(
    path: Path | None, half_life_hours: float | None = None, **chosen: object
) -> RerankTrainingSettings:
    """As `training_settings`, of the re-ranker; `half_life_hours` leaves the rest of the file's trends as they are."""
    found = _settings(RerankTrainingSettings, path, RERANKER, chosen)
    return found if half_life_hours is None else with_half_life(found, timedelta(hours=half_life_hours))


def user_settings(path: Path | None) -> UserSettings:
    """As `training_settings`, of the models for visitors with a history."""
    return _settings(UserSettings, path, USER_MODELS, {})


def with_half_life(settings: RerankTrainingSettings, half_life: timedelta) -> RerankTrainingSettings:
    """Return the settings with trends of another half-life."""
    return settings.model_copy(update={"trend": settings.trend.model_copy(update={"half_life": half_life})})


def as_replayed(settings: RerankTrainingSettings, speed: float) -> RerankTrainingSettings:
    """Return the settings for a recording that is played so many times as fast: trends fade and sessions end sooner."""
    session = settings.session.model_copy(update={"idle_gap": settings.session.idle_gap / speed})
    return with_half_life(settings, settings.trend.half_life / speed).model_copy(update={"session": session})


def _settings(kind: type[One], path: Path | None, table: str, chosen: Mapping[str, object]) -> One:
    told = _read(path).get(table, {}) if path is not None else {}
    try:
        return kind.model_validate({**told, **{name: one for name, one in chosen.items() if one is not None}})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in problem["loc"])
        where = (
            f"{path}: [{table}] {name}" if path is not None and problem["loc"] and problem["loc"][0] in told else name
        )
        raise SettingsError(
            f"{where}: {problem['msg']}, got {problem.get('input')!r:.60}: {_hint(kind, problem)}"
            "docs/settings.md lists every key"
        ) from error


def _hint(kind: type[BaseModel], problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        near = get_close_matches(str(problem["loc"][0]), kind.model_fields)
        return f"did you mean {' or '.join(near)}? " if near else ""
    return "a duration is written as PT90S, PT2H or 00:30:00; " if "time_delta" in problem["type"] else ""


def settings_document(chosen: Mapping[str, object], comment: str) -> str:
    """Return settings as such a file, below a comment."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    return f"{head}\n[{TABLE}]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in chosen.items())


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        document = toml_of(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected TOML, got something else ({error})") from error
    tables = (TABLE, RERANKER, USER_MODELS)
    unknown = [name for name in document if name not in tables or not isinstance(document[name], dict)]
    if unknown:
        raise SettingsError(
            f"{path}: expected the tables [{TABLE}], [{RERANKER}] and [{USER_MODELS}], got {', '.join(sorted(unknown))}"
        )
    return document


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
