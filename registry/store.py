"""Versions in an object store (S3 and what speaks it, Google Cloud, Azure, a folder): pushed and pulled whole.

    <url>/versions/<name>/<file>           each file of the version
    <url>/versions/<name>/version.json     written last: a version that has it is whole

obstore is the binding of Rust's object_store: one wheel without dependencies that speaks all of these, uploads in
parts and tries again by itself. Where credentials and endpoint are is told it by the environment (`AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from contracts.errors import ArtifactError, SettingsError
from contracts.masked import masked
from registry.folder import MOST_MANIFEST, VERSIONS, Registry
from registry.version import MANIFEST, NAME, FileEntry, ModelVersion

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class Store:
    """The versions at one address. Raises ArtifactError for whatever the store answers instead."""

    def __init__(self, url: str) -> None:
        """Raises SettingsError without obstore, and for an address that is none."""
        self.url = masked(url)
        self._store = _opened(url)

    def names(self) -> list[str]:
        """Return the versions that are whole, the oldest first."""
        import obstore

        found: set[str] = set()
        with self._told():
            for part in obstore.list(self._store, prefix=VERSIONS):
                for one in part:
                    pieces = str(one["path"]).split("/")
                    if len(pieces) == 3 and pieces[2] == MANIFEST and NAME.fullmatch(pieces[1]):
                        found.add(pieces[1])
        return sorted(found)

    def push(self, registry: Registry, name: str) -> bool:
        """Copy a version there, once every file was read and compared. False: it was there already, the very same."""
        import obstore

        version = registry.verify(name)
        if name in self.names() and self.read(name) == version:
            return False
        with self._told():
            for path in version.files:
                obstore.put(self._store, f"{VERSIONS}/{name}/{path}", registry.path_of(name) / path)
            obstore.put(self._store, f"{VERSIONS}/{name}/{MANIFEST}", registry.path_of(name) / MANIFEST)
        return True

    def read(self, name: str) -> ModelVersion:
        """Return the facts of a version."""
        with self._told():
            raw = b"".join(self._chunks(f"{VERSIONS}/{name}/{MANIFEST}", MOST_MANIFEST))
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
            with self._told():
                for path, entry in version.files.items():
                    got = self._fetch(f"{VERSIONS}/{name}/{path}", folder / path, entry)
                    if got != entry:
                        raise ArtifactError(
                            f"{self.url}: {name}/{path}: expected {entry.bytes:,} bytes, SHA-256 {entry.sha256[:12]}…, "
                            f"got {got.bytes:,} of {got.sha256[:12]}…: push the version again"
                        )

        registry.take(version, fill)
        return True

    def _fetch(self, key: str, to: Path, wanted: FileEntry) -> FileEntry:
        to.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with to.open("wb") as file:
            for chunk in self._chunks(key, wanted.bytes):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        return FileEntry(bytes=size, sha256=digest.hexdigest())

    def _chunks(self, key: str, most: int) -> Iterator[bytes]:
        """Yield an object; not much more than `most` bytes of it, whatever it has."""
        import obstore

        taken = 0
        for chunk in obstore.get(self._store, key).stream():
            taken += len(chunk)
            yield bytes(chunk)
            if taken > most:
                return

    @contextmanager
    def _told(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            said = " ".join(str(error).split()).partition(" Debug source")[0][:300]
            raise ArtifactError(f"{self.url}: {masked(said)}") from error


def _opened(url: str) -> ObjectStore:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise SettingsError(
            "expected the package obstore, which the `store` extra brings: pip install '.[store]'"
        ) from error
    options: dict[str, Any] = {"mkdir": True} if url.startswith("file:") else {}
    try:
        return from_url(url, **options)
    except (BaseError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise SettingsError(f"expected an address such as s3://bucket/models, got {masked(url)!r}: {said}") from error
