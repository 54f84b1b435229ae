"""How every service reads its settings. `contracts.settings` has the settings themselves.

Sources, strongest first: arguments, environment (`NEXTCLICK_` and the field's name; `__` enters a nested
group), the TOML file named by `NEXTCLICK_CONFIG` (default `nextclick.toml`), the defaults.
"""

from __future__ import annotations

import os
import re
import tomllib
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableSetting

from contracts.backends import is_list
from contracts.errors import SettingsError
from contracts.masked import masked
from contracts.toml import toml_of


class ReadSettings(BaseSettings):
    """Settings that are read from the environment and the TOML file; those of other groups are let be."""

    model_config = SettingsConfigDict(env_prefix="NEXTCLICK_", env_nested_delimiter="__", frozen=True, extra="ignore")

    def __init__(self, **given: Any) -> None:
        """Read the settings. Raises SettingsError, naming the variable or the file to mend."""
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise wrong_setting(error) from error
        except UnreadableSetting as error:
            raise _no_json(error) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{_config_file()}: expected TOML, got something else ({error})") from error
        except OSError as error:
            raise SettingsError(f"{_config_file()}: cannot be read ({error.strerror or error})") from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        named = _config_file()
        if "NEXTCLICK_CONFIG" in os.environ and not os.path.isfile(os.path.expanduser(named)):
            raise SettingsError(f"NEXTCLICK_CONFIG: expected a TOML file at {named!r}, found none")
        return init_settings, _Environment(settings_cls), _Toml(settings_cls, toml_file=named)


class _Environment(EnvSettingsSource):
    """The environment. A list that is no JSON is left to its group, which splits it."""

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:
        if is_list(field) and not str(value).lstrip().startswith("["):
            return value
        try:
            return super().decode_complex_value(field_name, field, value)  # type: ignore[arg-type]
        except ValueError:
            if field is None or self._field_is_complex(field)[1]:  # then it may be text
                raise
            raise self._no_json(field_name, field, value) from None
        except RecursionError:
            raise self._no_json(field_name, field, value) from None

    def _no_json(self, field_name: str, field: FieldInfo | None, value: Any) -> SettingsError:
        names = (name for name, one in self.env_vars.items() if one == value and name.endswith(field_name.lower()))
        expected = 'words with commas between them, or JSON as in ["a", "b"]' if is_list(field) else "a JSON object"
        return SettingsError(f"{next(names, field_name).upper()}: expected {expected}, got {masked(repr(value)):.80}")


class _Toml(TomlConfigSettingsSource):
    """The TOML file, with or without the byte order mark that some editors write."""

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        return toml_of(file_path.read_text(encoding="utf-8-sig"))


def _no_json(error: UnreadableSetting) -> SettingsError:
    """Return what is wrong with a list or a table that cannot be read. The library names its group alone."""
    group = re.search(r'field "(\w+)"', str(error))
    name = f"NEXTCLICK_{group[1].upper()}" if group else "NEXTCLICK"
    return SettingsError(f'{name}__...: expected JSON for a list or a table, as in ["a", "b"], got something else')


def wrong_setting(error: ValidationError, group: str = "") -> SettingsError:
    """Return what is wrong with the first setting that is, by the name of its variable. `group` where the error is of
    the settings of one group.
    """
    problem = error.errors(include_url=False)[0]
    name = "NEXTCLICK_" + "__".join(str(part).upper() for part in (*filter(None, [group]), *problem["loc"]))
    hint = "a duration is written as PT90S, PT2H or 00:30:00; " if "time_delta" in problem["type"] else ""
    said = " ".join(problem["msg"].split())
    came = (
        "what may hold a password"
        if name.endswith(("__URL", "PASSWORD"))
        else f"{masked(repr(problem.get('input'))):.80}"
    )
    return SettingsError(f"{name}: {said}, got {came}: {hint}`nextclick settings` lists every setting")


def _config_file() -> str:
    return os.environ.get("NEXTCLICK_CONFIG", "nextclick.toml")
