"""Snapshots in an object store: one machine builds, others start from its copy.

    <url>/snapshots/<name>/<file>           each file of a snapshot
    <url>/snapshots/<name>/manifest.json    written last: a snapshot that has it is whole
    <url>/snapshots/current.json            which one serves, and the one before; written behind both

The one that serves and the one before are kept there, as in a folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import orjson
from pydantic import ValidationError

from contracts.errors import ArtifactError
from registry.objects import Objects
from retrieval.snapshot import (
    Manifest,
    building,
    publish,
    read_manifest,
    read_pointer,
    verify,
    write_pointer,
    write_synced,
)
from retrieval.snapshot_folder import FORMAT, MANIFEST, POINTER, Pointer, is_plain

_SNAPSHOTS: Final = "snapshots"
_MOST: Final = 4 << 20
"""Bytes of a manifest or pointer."""


class SnapshotStore:
    """Raises ArtifactError for whatever the store answers instead."""

    def __init__(self, url: str) -> None:
        """Raises SettingsError without obstore, and for an address that is none."""
        self._objects = Objects(url)
        self.url = self._objects.url

    def current(self) -> Pointer:
        """Return what serves there; an empty pointer where nothing was pushed."""
        raw = self._objects.read(f"{_SNAPSHOTS}/{POINTER}", _MOST)
        try:
            return Pointer() if raw is None else Pointer.model_validate_json(raw)
        except ValidationError as error:
            raise ArtifactError(f"{self.url}: {POINTER} is none: push a snapshot again") from error

    def push(self, folder: Path) -> str | None:
        """Copy the snapshot that serves in a folder, once every file was read and compared. Returns its name; None
        where it is there already, or nothing serves.
        """
        name, there = read_pointer(folder).current, self.current()
        if name is None or name == there.current:
            return None
        manifest = verify(folder / name)
        if name != there.previous:
            for part in (*manifest.files, MANIFEST):
                self._objects.put(f"{_SNAPSHOTS}/{name}/{part}", folder / name / part)
        pointer = Pointer(current=name, previous=there.current)
        self._objects.put(f"{_SNAPSHOTS}/{POINTER}", pointer.model_dump_json().encode())
        self._forget_but(name, there.current)
        return name

    def pull(self, folder: Path, *, tower: int | None = None) -> str | None:
        """Copy the snapshot that serves there and let it serve here, if every file is as its manifest says. Returns its
        name; None where it serves here already, there is none, or (with `tower`) it is of another item tower.
        """
        name = self.current().current
        if name is None or name == read_pointer(folder).current:
            return None
        manifest = self._manifest(name)
        if tower is not None and manifest.tower != tower:
            return None
        with building(folder) as aside:
            if (folder / name).exists():  # it served here before
                verify(folder / name)
                write_pointer(folder, Pointer(current=name, previous=read_pointer(folder).current))
                return name
            for part, entry in manifest.files.items():
                size, sha256 = self._objects.fetch(f"{_SNAPSHOTS}/{name}/{part}", aside / part, entry.bytes)
                if (size, sha256) != (entry.bytes, entry.sha256):
                    raise ArtifactError(
                        f"{self.url}: {name}/{part}: expected {entry.bytes:,} bytes, SHA-256 {entry.sha256[:12]}…, "
                        f"got {size:,} of {sha256[:12]}…: push the snapshot again"
                    )
            write_synced(aside / MANIFEST, orjson.dumps(manifest.model_dump()))
            read_manifest(aside)
            return publish(folder, aside, manifest)

    def _manifest(self, name: str) -> Manifest:
        raw = self._objects.read(f"{_SNAPSHOTS}/{name}/{MANIFEST}", _MOST)
        try:
            document = orjson.loads(raw or b"")
            found = document.get("format") if isinstance(document, dict) else None
            if found != FORMAT:
                raise ArtifactError(f"{self.url}: {name}: expected snapshot format {FORMAT}, got {found}")
            manifest = Manifest.model_validate(document)
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise ArtifactError(f"{self.url}: the manifest of {name} is none: push a snapshot again") from error
        if not manifest.whole or not all(map(is_plain, manifest.files)):
            raise ArtifactError(f"{self.url}: the manifest of {name} was changed since it was written: push again")
        return manifest

    def _forget_but(self, *kept: str | None) -> None:
        """Take away the snapshots that the pointer does not name."""
        gone = []
        for key in self._objects.keys(_SNAPSHOTS):
            pieces = key.split("/")
            if len(pieces) == 3 and pieces[1] not in kept:
                gone.append(key)
        self._objects.remove(gone)
