"""Versions in an object store: pushed and pulled whole.

<url>/versions/<name>/<file>           each file of the version
<url>/versions/<name>/version.json     written last: a version that has it is whole
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from contracts.errors import ArtifactError
from registry.folder import MOST_MANIFEST, VERSIONS, Registry
from registry.objects import Objects
from registry.version import MANIFEST, NAME, FileEntry, ModelVersion


class Store:
    """The versions at one address. Raises ArtifactError for whatever the store answers instead."""

    def __init__(self, url: str) -> None:
        """Raises SettingsError without obstore, and for an address that is none."""
        self._objects = Objects(url)
        self.url = self._objects.url

    def names(self) -> list[str]:
        """Return the versions that are whole, the oldest first."""
        found: set[str] = set()
        for key in self._objects.keys(VERSIONS):
            pieces = key.split("/")
            if len(pieces) == 3 and pieces[2] == MANIFEST and NAME.fullmatch(pieces[1]):
                found.add(pieces[1])
        return sorted(found)

    def push(self, registry: Registry, name: str) -> bool:
        """Copy a version there, once every file was read and compared. False: it was there already, the very same."""
        version = registry.verify(name)
        if name in self.names() and self.read(name) == version:
            return False
        for path in (*version.files, MANIFEST):
            self._objects.put(f"{VERSIONS}/{name}/{path}", registry.path_of(name) / path)
        return True

    def read(self, name: str) -> ModelVersion:
        """Return the facts of a version."""
        raw = self._objects.read(f"{VERSIONS}/{name}/{MANIFEST}", MOST_MANIFEST)
        if raw is None:
            raise ArtifactError(f"{self.url}: expected a version, found no {name}: `nextclick models pull` lists them")
        try:
            version = ModelVersion.model_validate_json(raw)
        except ValidationError as error:
            raise ArtifactError(f"{self.url}: the manifest of {name} is none: push the version again") from error
        if not version.whole or version.name != name:
            raise ArtifactError(f"{self.url}: the manifest of {name} was changed since it was written: push it again")
        return version

    def pull(self, registry: Registry, name: str) -> bool:
        """Copy a version here; it is kept only where size and SHA-256 of every file are right. False: it is here."""
        if name in registry.names():
            registry.verify(name)
            return False
        version = self.read(name)

        def fill(folder: Path) -> None:
            for path, entry in version.files.items():
                size, sha256 = self._objects.fetch(f"{VERSIONS}/{name}/{path}", folder / path, entry.bytes)
                if FileEntry(bytes=size, sha256=sha256) != entry:
                    raise ArtifactError(
                        f"{self.url}: {name}/{path}: expected {entry.bytes:,} bytes, SHA-256 {entry.sha256[:12]}…, "
                        f"got {size:,} of {sha256[:12]}…: push the version again"
                    )

        registry.take(version, fill)
        return True
