"""The log that a mirror writes, from a file: the environment names the one that it reads."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from contracts.errors import SettingsError
from contracts.read_settings import wrong_setting
from contracts.settings import LogSettings, RedisSettings


def target_of(file: Path, log: LogSettings, redis: RedisSettings) -> tuple[LogSettings, RedisSettings]:
    """Return the log and the Redis that a TOML file names, for a copy of the log given. Raises SettingsError."""
    try:
        given = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: expected a TOML file with [redis] and [log], got {error}") from error
    try:
        found = LogSettings(**given.get("log", {})), RedisSettings(**given.get("redis", {}))
    except ValidationError as error:
        raise SettingsError(f"{file}: {wrong_setting(error)}") from error
    if "redis" not in given or "log" not in given:
        raise SettingsError(f"{file}: expected the groups [redis] and [log], got {', '.join(given) or 'none'}")
    if found[0].partitions != log.partitions:
        raise SettingsError(
            f"{file}: log.partitions: expected {log.partitions}, as this log has, got {found[0].partitions}: "
            "a record keeps its partition"
        )
    if _place(*found) == _place(log, redis):
        raise SettingsError(f"{file}: it names the log that is read; name another Redis, prefix or Kafka")
    return found


def _place(log: LogSettings, redis: RedisSettings) -> tuple[str, ...]:
    return (log.kafka, log.topic_prefix) if log.kind == "kafka" else (redis.url, redis.prefix)
