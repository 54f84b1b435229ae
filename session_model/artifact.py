"""Trained arrays on disk: one folder, a manifest and `.npy` files. No other module reads or writes one.

`manifest.json` names the format, the kind, the content version, the dimension, what the arrays were made from,
and each array's shape, type and SHA-256. Arrays are plain `.npy`, never pickles. A folder is written aside and
renamed into place, so that a reader sees the old one or the new one.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.errors import ArtifactError
from contracts.npy import array_in
from contracts.outputs import FolderKind, made_aside, read_document

FORMAT = 1
MANIFEST = "manifest.json"
SESSION_MODEL = "session_model"
"""Kind of the artifact that holds both towers; also its folder's name under `<artifacts>`."""


MOST_DIMENSIONS = 2**20


class ArrayEntry(BaseModel):
    """One array as the manifest describes it. Its file is `<name>.npy`."""

    model_config = ConfigDict(frozen=True)
    shape: tuple[int, ...]
    dtype: str
    sha256: str


class Manifest(BaseModel):
    """What a folder holds. `version` is 16 hex digits, a hash of everything that changes what the arrays compute."""

    model_config = ConfigDict(frozen=True)
    format: int
    kind: str
    version: str
    dim: int = Field(ge=0, le=MOST_DIMENSIONS)
    arrays: dict[str, ArrayEntry]
    created_from: dict[str, Any]

    @property
    def number(self) -> int:
        """The version as an unsigned 64-bit integer, as sessions and catalogue rows carry it."""
        return int(self.version, 16)


def save(
    folder: Path, *, kind: str, dim: int, arrays: Mapping[str, NDArray[Any]], created_from: Mapping[str, Any]
) -> Manifest:
    """Write arrays and their manifest, replacing an artifact of this kind. Same arrays, same version.

    Raises OutputRefused where `folder` holds anything else.
    """
    files = {name: _npy(array) for name, array in sorted(arrays.items())}
    entries = {
        name: ArrayEntry(
            shape=arrays[name].shape, dtype=arrays[name].dtype.str, sha256=hashlib.sha256(content).hexdigest()
        )
        for name, content in files.items()
    }
    manifest = Manifest(
        format=FORMAT,
        kind=kind,
        version=_version(kind, dim, entries),
        dim=dim,
        arrays=entries,
        created_from=dict(created_from),
    )
    with made_aside(folder, folder_kind(kind)) as aside:
        for name, content in files.items():
            (aside / f"{name}.npy").write_bytes(content)
        document = orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2)
        (aside / MANIFEST).write_bytes(document + b"\n")
    return manifest


def folder_kind(kind: str) -> FolderKind:
    """Return what is replaced by an artifact of this kind: one of any release, and nothing that lies beside it."""

    def owns(folder: Path) -> frozenset[str] | None:
        document = read_document(folder / MANIFEST)
        arrays = document.get("arrays") if document is not None and document.get("kind") == kind else None
        return frozenset((MANIFEST, *(f"{name}.npy" for name in arrays))) if isinstance(arrays, dict) else None

    return FolderKind(f"a {kind} artifact", owns)


def read_manifest(folder: Path, kind: str) -> Manifest:
    """Read and check the manifest. Raises ArtifactError when it is missing, broken or of another kind or format."""
    path = folder / MANIFEST
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(
            f"expected a {kind} artifact in {folder}, found no {MANIFEST}: "
            "train one (`nextclick train`), or point the `artifacts` setting at the folder above it"
        ) from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise ArtifactError(f"cannot read {path}: {error}. Copy the artifact again, or train it again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise ArtifactError(f"{path}: expected artifact format {FORMAT}, got {found}: train it again with this release")
    if document.get("kind") != kind:
        raise ArtifactError(f"{path}: expected a {kind} artifact, got {document.get('kind')!r}: check the folder")
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        raise ArtifactError(f"{path} is not a manifest: {error.errors(include_url=False)[0]['msg']}") from error
    if manifest.version != _version(manifest.kind, manifest.dim, manifest.arrays):
        raise ArtifactError(f"{path}: version {manifest.version} does not match its arrays: it was edited by hand")
    return manifest


def read_arrays(folder: Path, manifest: Manifest, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read the named arrays, checking each file's checksum, type and shape. Raises ArtifactError."""
    return {name: _read_array(folder, manifest, name) for name in names}


def expect_shape(folder: Path, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise ArtifactError unless `array` has `shape`; -1 stands for any length."""
    if array.ndim != len(shape) or any(w not in (-1, g) for w, g in zip(shape, array.shape, strict=True)):
        raise ArtifactError(f"{folder / name}.npy: expected shape {shape}, got {array.shape}: train the model again")


def _read_array(folder: Path, manifest: Manifest, name: str) -> NDArray[Any]:
    path = folder / f"{name}.npy"
    entry = manifest.arrays.get(name)
    if entry is None:
        raise ArtifactError(f"{folder / MANIFEST} names no array {name!r}: train the model again with this release")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error}. Copy the artifact again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != entry.sha256:
        raise ArtifactError(
            f"{path}: expected SHA-256 {entry.sha256[:12]}…, got {found[:12]}…: the file is damaged or from "
            "another training; copy the whole artifact again"
        )
    try:
        array = array_in(content)
    except ValueError as error:
        raise ArtifactError(f"{path} is not a plain .npy array: {error}") from error
    if array.dtype.str != entry.dtype:
        raise ArtifactError(f"{path}: expected type {entry.dtype}, got {array.dtype.str}: copy the artifact again")
    expect_shape(folder, name, array, entry.shape)
    return array


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _version(kind: str, dim: int, entries: Mapping[str, ArrayEntry]) -> str:
    described = [FORMAT, kind, dim, sorted((name, entry.sha256) for name, entry in entries.items())]
    return hashlib.sha256(orjson.dumps(described)).hexdigest()[:16]
