"""What a folder of snapshots may hold, and what of it is removed. Nothing else decides it.

Only what was made here is removed. A snapshot is known by its manifest; the files that the manifest names go. One that
is half-written, or has lost its manifest, is known by a name of the very form that `snapshot` gives, together with the
mark inside or with files of a snapshot alone. Links are never followed. Where anything else is, nothing is built.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from contracts.errors import OutputRefused
from contracts.outputs import found_at, in_words, read_document
from retrieval.catalogue import COLUMNS

FORMAT = 1
MANIFEST = "manifest.json"
POINTER = "current.json"
GRAPH = "graph.usearch"
LOCK = "lock"
WANTED = "build-wanted"
ASIDE = ".building-"
BUILDING = "building"
"""Mark in a folder that is being written. It goes when the snapshot is published."""

_WHOLE = re.compile(r"\d{12,}-[0-9a-f]{8}-[0-9a-f]{8}")
_HALF_WRITTEN = re.compile(r"\.building-\d+-[0-9a-f]{8}")
_HALF_POINTED = re.compile(r"\.current\.json\.[0-9a-f]{8}")
_POINTER_BEGINS = b'{"current":'
PARTS = {f"{name}.npy" for name in (*COLUMNS, "vectors", "slot_keys", "slot_rows", "item_ids_ends", "documents_ends")}
PARTS |= {"item_ids.bin", "documents.bin", "words.json", GRAPH, MANIFEST, BUILDING}
"""Files of a snapshot, for one whose manifest is lost."""


class Pointer(BaseModel):
    """Which snapshot serves. `refused_tower` is the tower version that a rollback left, not to be built again."""

    model_config = ConfigDict(frozen=True)
    current: str | None = None
    previous: str | None = None
    refused_tower: str | None = None

    @field_validator("current", "previous")
    @classmethod
    def _lies_beside(cls, name: str | None) -> str | None:
        if name is not None and not is_plain(name):
            raise ValueError("expected the name of a snapshot beside it")
        return name


def is_plain(name: str) -> bool:
    """Tell whether a name is of something in the very folder that it is looked for in: no path, and not `..`."""
    return bool(name) and name == Path(name).name and name != ".." and "\0" not in name


def expect_own(folder: Path) -> None:
    """Raise OutputRefused unless the folder is missing, empty, or holds snapshots and what belongs to them alone."""
    if (folder.is_symlink() and not folder.exists()) or (folder.exists() and not folder.is_dir()):
        raise OutputRefused(f"{folder}: expected a folder of snapshots, found {found_at(folder)}: name another folder")
    if not folder.exists():
        return
    strangers = sorted(path.name for path in folder.iterdir() if not _belongs(path))
    if strangers:
        raise OutputRefused(
            f"{folder}: expected a folder of snapshots alone, found {in_words(strangers)} in it: nothing was touched; "
            f"name a folder of its own, such as {folder / 'index'}, or move these away"
        )


def clean(folder: Path) -> None:
    """Remove what was left half-written, and the snapshots that the pointer does not name. Only for whoever holds the
    lock. What is not known to be one of both is left alone; without a pointer that can be read, so are snapshots.
    """
    pointer = _pointer_in(folder)
    for path in folder.iterdir():
        if _is_half_written(path):
            shutil.rmtree(path, ignore_errors=True)
        elif _is_half_pointed(path):
            path.unlink(missing_ok=True)
        elif pointer is not None and path.name not in (pointer.current, pointer.previous) and _is_folder(path):
            files = _files_that_go(path)
            if files is not None:
                _remove(path, files)


def name_of(change: int, tower_version: str, seal: str) -> str:
    """Return the folder's name of a snapshot: the change that it reaches to, its tower and its seal."""
    return f"{change:012d}-{tower_version[:8]}-{seal[:8]}"


def _belongs(path: Path) -> bool:
    if path.is_symlink():
        return False
    if path.is_dir():
        return _is_half_written(path) or _manifest_of(path) is not None or _lost_its_manifest(path)
    if path.name == LOCK:
        return not path.stat().st_size
    if path.name == POINTER:
        return _pointer_in(path.parent) is not None or _has_snapshots(path.parent)
    return path.name == WANTED or _is_half_pointed(path)


def _has_snapshots(folder: Path) -> bool:
    """Tell whether a pointer that cannot be read lies beside snapshots: then it is a damaged one of ours."""
    return any(_is_folder(path) and _manifest_of(path) is not None for path in folder.iterdir())


def _pointer_in(folder: Path) -> Pointer | None:
    """Return what the pointer says; None where there is none, or one that cannot be read."""
    document = read_document(folder / POINTER)
    if not document or not document.keys() <= Pointer.model_fields.keys():
        return None
    with suppress(ValidationError):
        return Pointer.model_validate(document)
    return None


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_half_written(path: Path) -> bool:
    if not _is_folder(path) or not _HALF_WRITTEN.fullmatch(path.name):
        return False
    return (path / BUILDING).is_file() or _holds_parts_alone(path)


def _lost_its_manifest(path: Path) -> bool:
    """Tell a snapshot whose manifest is damaged or gone, as one is that was killed while it was removed."""
    return _WHOLE.fullmatch(path.name) is not None and _holds_parts_alone(path)


def _holds_parts_alone(path: Path) -> bool:
    return all(one.name in PARTS and one.is_file() for one in path.iterdir())


def _is_half_pointed(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or not _HALF_POINTED.fullmatch(path.name):
        return False
    content = path.read_bytes() if path.stat().st_size < 4096 else b"?"
    return content[: len(_POINTER_BEGINS)] == _POINTER_BEGINS[: len(content)]


def _manifest_of(path: Path) -> Mapping[str, object] | None:
    """Return a snapshot's manifest, of any release; None for another folder, whatever manifest it has."""
    document = read_document(path / MANIFEST)
    if document is None or not isinstance(document.get("format"), int) or not isinstance(document.get("files"), dict):
        return None
    is_ours = isinstance(document.get("seal"), str) and isinstance(document.get("tower_version"), str)
    return document if is_ours else None


def _files_that_go(path: Path) -> list[str] | None:
    """Return a snapshot's files but its manifest; None for another folder, and for a copy that somebody gave a name of
    his own.
    """
    if _lost_its_manifest(path):
        return [one.name for one in path.iterdir() if one.name != MANIFEST]
    manifest = _manifest_of(path)
    if manifest is None or (manifest["format"] == FORMAT and not _WHOLE.fullmatch(path.name)):
        return None
    files = manifest["files"]
    assert isinstance(files, dict)
    return [name for name in files if is_plain(name) and name != MANIFEST]


def _remove(snapshot: Path, files: list[str]) -> None:
    """Remove files, then the manifest, then the folder: killed in between, the rest is still known. What somebody else
    put beside them stays, and the manifest with it.
    """
    with suppress(OSError):
        for name in files:
            (snapshot / name).unlink(missing_ok=True)
        if all(path.name == MANIFEST for path in snapshot.iterdir()):
            (snapshot / MANIFEST).unlink(missing_ok=True)
            snapshot.rmdir()
