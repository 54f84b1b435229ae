"""A version of the models: what it holds, what it was made of, what it measured."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

FORMAT: Final = "nextclick-models"
FORMAT_VERSION: Final = 1
NAME: Final = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")
NAME_PATTERN: Final = rf"^{NAME.pattern}$"
MANIFEST: Final = "version.json"


class FileEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class DataRange(BaseModel):
    """What it learnt from: recordings, or offsets of the log (`topic:partition` to the next one), and their times."""

    model_config = ConfigDict(frozen=True, extra="allow")
    sources: list[str] = []
    offsets: dict[str, int] = {}
    first_ms: int | None = None
    last_ms: int | None = None
    events: int | None = Field(default=None, ge=0)


class ModelVersion(BaseModel):
    """The facts of one version. `files` by their path within it; `seal` is the SHA-256 of everything else here.

    `session_model` and `reranker` are the versions of both, 16 hex digits; None for a version without one. A field that
    a newer release added is kept: it is sealed too.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    name: str = Field(pattern=NAME_PATTERN)
    made_ms: int = Field(ge=0)
    by: str = Field(default="", max_length=200)
    note: str = Field(default="", max_length=1000)
    parent: str | None = Field(default=None, pattern=NAME_PATTERN)
    code_version: str = ""
    session_model: str | None = None
    reranker: str | None = None
    settings: dict[str, Any] = {}
    data: DataRange = DataRange()
    figures: dict[str, float] = {}
    files: dict[str, FileEntry]
    seal: str = ""

    @field_validator("files")
    @classmethod
    def _lie_within(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for path in files:
            parts = path.split("/")
            if "\0" in path or any(part in ("", ".", "..") for part in parts):
                raise ValueError(f"expected paths within the version, such as reranker/ranker.ubj, got {path[:100]!r}")
        return files

    def sealed(self) -> ModelVersion:
        return self.model_copy(update={"seal": self._seal()})

    @property
    def whole(self) -> bool:
        """Whether nothing of it was changed since it was sealed."""
        return self.seal == self._seal()

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.files.values())

    def _seal(self) -> str:
        said = self.model_dump(mode="json", exclude={"seal"})
        return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()
