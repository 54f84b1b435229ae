"""What a backup holds, and what it says of itself.

manifest.json            first: the facts below, with the size and SHA-256 of each other file
redis.rdb                all that Redis held at one moment: log streams, state, offsets
trends/...               the trends flow's own counts, from just before that moment
feeds/...                feeds, and what the catalogue was told of each, from before that moment
models/...               the registry of models, or plain artifacts
settings/environment     NEXTCLICK_... variables, as NAME="value" lines
settings/nextclick.toml  the settings file
settings/files/...       files that settings name: certificates, keys, site rules; by the setting's name
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

FORMAT: Final = "nextclick-backup"
LAYOUT: Final = 1
"""Raised when what is in a backup, or where, changes its meaning."""
MANIFEST: Final = "manifest.json"
SNAPSHOT: Final = "redis.rdb"
TRENDS, FEEDS, MODELS, SETTINGS = "trends", "feeds", "models", "settings"
ENVIRONMENT, TOML, FILES = "settings/environment", "settings/nextclick.toml", "settings/files"
HELD: Final = tuple(f"{folder}/" for folder in (TRENDS, FEEDS, MODELS, SETTINGS))
"""Where everything lies but the snapshot of Redis."""
LEFT_OUT: Final = (
    "index snapshots: the builder makes them again from the catalogue",
    "log files and recordings",
)


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True)


class FileFacts(_Facts):
    bytes: int
    sha256: str


class RedisFacts(_Facts):
    """`keys` and `expiring` of the database at that moment, None where the server does not say. `how`: `snapshot`, or
    `keys` that were read one by one while nothing was written. `paused_ms`: for how long a cluster held writes back.
    """

    version: str
    database: int
    prefix: str
    keys: int | None
    expiring: int | None
    how: str
    paused_ms: int = 0


class LogFacts(_Facts):
    kind: str
    partitions: int
    topic_prefix: str


class Manifest(_Facts):
    format: str
    layout: int
    made_ms: int
    version: str
    redis: RedisFacts
    log: LogFacts
    models: str | None
    """The version that serves, where the models are a registry's; `plain` for artifacts; None without models."""
    left_out: tuple[str, ...] = LEFT_OUT
    files: dict[str, FileFacts]
    links: dict[str, str] = {}

    @property
    def bytes(self) -> int:
        """Bytes of all its files, unpacked."""
        return sum(file.bytes for file in self.files.values())
