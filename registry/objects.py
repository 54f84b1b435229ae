"""Objects at one address (S3 and what speaks it, Google Cloud, Azure, a folder): whole files, compared as they come.

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

from contracts.errors import ArtifactError, SettingsError
from contracts.masked import masked

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class Objects:
    """What lies at one address, by key. Raises ArtifactError for whatever the store answers instead."""

    def __init__(self, url: str) -> None:
        """Raises SettingsError without obstore, and for an address that is none."""
        self.url = masked(url)
        self._store = _opened(url)

    def keys(self, prefix: str) -> list[str]:
        """Return all keys below a prefix."""
        import obstore

        with self.told():
            return [str(one["path"]) for part in obstore.list(self._store, prefix=prefix) for one in part]

    def put(self, key: str, content: Path | bytes) -> None:
        import obstore

        with self.told():
            obstore.put(self._store, key, content)

    def read(self, key: str, most: int) -> bytes | None:
        """Return an object, not much more than `most` bytes of it; None where there is none."""
        try:
            with self.told():
                return b"".join(self._chunks(key, most))
        except ArtifactError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def fetch(self, key: str, to: Path, most: int) -> tuple[int, str]:
        """Copy an object into a file, not much more than `most` bytes of it; returns its bytes and SHA-256."""
        to.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with self.told(), to.open("wb") as file:
            for chunk in self._chunks(key, most):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        return size, digest.hexdigest()

    def remove(self, keys: list[str]) -> None:
        import obstore

        if keys:
            with self.told():
                obstore.delete(self._store, keys)

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
    def told(self) -> Iterator[None]:
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
    except (BaseError, ValueError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise SettingsError(f"expected an address such as s3://bucket/models, got {masked(url)!r}: {said}") from error
