"""One backup as one file: a tar in zstd, its manifest first, every file checked against it.

The file is its user's alone (0600), as it holds secrets. It is written aside and takes its name when it is whole.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson
import zstandard
from pydantic import ValidationError

from contracts.errors import ArtifactError
from contracts.outputs import FileKind, written_aside
from nextclick.stack.backup.manifest import FORMAT, HELD, LAYOUT, MANIFEST, SNAPSHOT, FileFacts, Manifest

_LEVEL = 3
_CHUNK = 1 << 20
_LARGEST_MANIFEST = 64 << 20
_SHOWN = 100
_RELEASE = re.compile(r"\d[0-9a-z.+!-]{0,40}")


def files_in(folder: Path) -> dict[str, FileFacts]:
    """Return the files of a folder, by their path in it, with size and checksum."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): _facts(path) for path in found}


def links_in(folder: Path) -> dict[str, str]:
    """Return the links of a folder, by their path in it, and where each leads."""
    found = sorted(path for path in folder.rglob("*") if path.is_symlink())
    return {path.relative_to(folder).as_posix(): os.readlink(path) for path in found}


def write_archive(path: Path, folder: Path, manifest: Manifest) -> int:
    """Write a folder as a backup; returns the file's bytes. Raises OutputRefused for a file that is none, OSError."""
    with written_aside(path, BACKUP) as aside:
        with open(aside, "xb", opener=_private) as file:
            packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, threads=-1)
            with (
                packer.stream_writer(file, closefd=False) as packed,
                tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
            ):
                _add(tar, MANIFEST, orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
                for name in manifest.files:
                    _add_file(tar, name, folder / name)
                for name, leads in manifest.links.items():
                    _add_link(tar, name, leads)
            file.flush()
            os.fsync(file.fileno())
        return aside.stat().st_size


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o600
    tar.addfile(entry, io.BytesIO(content))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = path.stat().st_size, 0o600
    with path.open("rb") as file:
        tar.addfile(entry, file)


def _add_link(tar: tarfile.TarFile, name: str, leads: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, leads
    tar.addfile(entry)


def read_manifest(path: Path) -> Manifest:
    """Return what a backup says of itself. Raises ArtifactError for another file, a damaged one, and another layout."""
    with _opened(path) as tar:
        return _manifest(path, tar)


def verify_archive(path: Path) -> Manifest:
    """Read a whole backup, and compare each file with the manifest. Raises ArtifactError."""
    return _read(path, None)


def unpack_archive(path: Path, folder: Path) -> Manifest:
    """Unpack a backup into a folder that is empty, checking each file. Raises ArtifactError, with some files there."""
    return _read(path, folder)


def _read(path: Path, folder: Path | None) -> Manifest:
    with _opened(path) as tar:
        manifest = _manifest(path, tar)
        met: set[str] = set()
        for entry in tar:
            if entry.name == MANIFEST:  # read already
                continue
            content = tar.extractfile(entry) if entry.isfile() else None
            _expect(path, manifest, entry, content, folder)
            met.add(entry.name)
        if missing := sorted((manifest.files.keys() | manifest.links.keys()) - met):
            raise ArtifactError(f"{path}: expected {missing[0]} in it, found none: {_ANOTHER}")
    return manifest


def _expect(path: Path, manifest: Manifest, entry: tarfile.TarInfo, content: IO[bytes] | None, to: Path | None) -> None:
    """Raise ArtifactError unless an entry is what the manifest says. Names that lead out of the folder are none of it,
    nor are those of what a stack makes for itself, such as the settings of its Redis: no backup that was made has any.
    """
    name = entry.name
    if name.startswith("/") or ".." in Path(name).parts:
        raise ArtifactError(f"{path}: expected names of files in a folder, found {name[:_SHOWN]!r}: {_ANOTHER}")
    if name != SNAPSHOT and not name.startswith(HELD):
        raise ArtifactError(f"{path}: expected what a backup holds, found {name[:_SHOWN]!r}: {_ANOTHER}")
    if to is not None:
        (to / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if content is not None and name in manifest.files and entry.size == manifest.files[name].bytes:
        found = _copied(content, to / name if to is not None else None)
        if found != manifest.files[name]:
            raise ArtifactError(f"{path}: {name} is not what was written (SHA-256): {_ANOTHER}")
    elif entry.issym() and manifest.links.get(name) == entry.linkname:
        _expect_inside(path, name, entry.linkname)
        if to is not None:
            (to / name).symlink_to(entry.linkname)
    else:
        raise ArtifactError(f"{path}: {name[:_SHOWN]!r} is not what its manifest says: {_ANOTHER}")


def _expect_inside(path: Path, name: str, leads: str) -> None:
    """Raise ArtifactError for a link that may lead out. What `..` means depends on the links on the way to it, so there
    is none: a link only leads down, whatever other links it goes through, and so does whatever is written through it.
    """
    if leads.startswith("/") or ".." in Path(leads).parts:
        raise ArtifactError(f"{path}: the link {name!r} may lead out of it, to {leads[:_SHOWN]!r}: {_ANOTHER}")


def _copied(content: IO[bytes], to: Path | None) -> FileFacts:
    """Read a file to its end, into a new file if there is one to be made. Raises OSError."""
    if to is not None:
        with open(to, "xb", opener=_private) as out:
            facts = _read_through(content, out.write)
            out.flush()
            os.fsync(out.fileno())
        return facts
    return _read_through(content, len)


def _read_through(content: IO[bytes], take: Callable[[bytes], int]) -> FileFacts:
    digest, size = hashlib.sha256(), 0
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        take(chunk)
    return FileFacts(bytes=size, sha256=digest.hexdigest())


def _facts(path: Path) -> FileFacts:
    with path.open("rb") as file:
        return _copied(file, None)


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a backup to be read from its beginning to its end. Raises ArtifactError for what breaks on the way."""
    if path.is_file() and not _is_backup(path):
        raise ArtifactError(f"{path}: expected a backup that `nextclick backup` made, {_OTHER}: {_ANOTHER}")
    with path.open("rb") as file:
        source: Any = zstandard.ZstdDecompressor().stream_reader(file)
        try:
            with tarfile.open(fileobj=source, mode="r|") as tar:
                yield tar
        except tarfile.TarError as error:
            raise _broken(path, error) from error
        except (zstandard.ZstdError, EOFError) as error:
            raise _broken(path, error) from error


def _broken(path: Path, error: BaseException) -> ArtifactError:
    return ArtifactError(f"{path}: expected a whole backup, found it damaged or cut short ({error}): {_ANOTHER}")


def _manifest(path: Path, tar: tarfile.TarFile) -> Manifest:
    entry = tar.next()
    content = tar.extractfile(entry) if entry is not None and entry.name == MANIFEST and entry.isfile() else None
    if entry is None or content is None or entry.size > _LARGEST_MANIFEST:
        raise ArtifactError(f"{path}: expected a backup that `nextclick backup` made, {_OTHER}: {_ANOTHER}")
    try:
        document = orjson.loads(content.read())
        layout = document["layout"] if document["format"] == FORMAT else None
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(path, error) from error
    if layout != LAYOUT:
        said = str(document.get("version"))
        if not isinstance(layout, int) or not _RELEASE.fullmatch(said):  # it would be pasted into a shell
            raise _broken(path, ValueError(f"layout {layout!r:.40}, release {said[:40]!r}"))
        raise ArtifactError(
            f"{path}: expected a backup of layout {LAYOUT}, got layout {layout}, made by Nextclick {said}: restore it "
            f"with that release, which `pip install nextclick=={said}` brings, then start this one on the restored "
            "folder"
        )
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        raise _broken(path, error) from error
    if SNAPSHOT not in manifest.files:
        raise ArtifactError(f"{path}: expected {SNAPSHOT} in it, found none: {_ANOTHER}")
    return manifest


def _is_backup(path: Path) -> bool:
    """Tell by the first entry's name, whatever its layout."""
    try:
        with path.open("rb") as file:
            head = zstandard.ZstdDecompressor().stream_reader(file).read(64)
    except (zstandard.ZstdError, EOFError, OSError):
        return False
    return head.startswith(MANIFEST.encode() + b"\0")


BACKUP = FileKind("a backup", _is_backup)
_OTHER = "found another file, or one that is damaged"
_ANOTHER = "take another backup; nothing was changed"
