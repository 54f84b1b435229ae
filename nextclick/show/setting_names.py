"""Names of settings as variables of the environment, and a word about those that no service reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.settings import FlowSettings

log = logging.getLogger(__name__)


def leaves(kind: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    """Return each setting of a class and its groups, by its variable's name."""
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}", field


def warn_of_unknown(environment: Mapping[str, str]) -> None:
    """Log a line for every NEXTCLICK_ variable that no service reads. What flows read costs little to know; only where
    there is more are the settings of all services loaded.
    """
    known = {name for name, _ in leaves(FlowSettings, "NEXTCLICK_")}
    if any(name.startswith("NEXTCLICK_") and name not in known for name in environment):
        from nextclick.show.settings_table import unknown_settings  # reads every settings class there is

        for line in unknown_settings(environment):
            log.warning(line)
