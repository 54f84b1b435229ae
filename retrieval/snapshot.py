"""Snapshots of the index on disk: what a folder of them looks like, and how one is published, opened, refused.

    <folder>/current.json                 which snapshot serves, and the one before it
    <folder>/<name>/manifest.json         what the snapshot holds, with the size and SHA-256 of each file
    <folder>/<name>/*.npy, *.usearch      columns, vectors, id table, graph
    <folder>/.building-*/building         one that is being written; never opened
    <folder>/lock                         held by whoever builds
    <folder>/build-wanted                 somebody asks for a new one

A snapshot is written aside, synced to disk and renamed; then the pointer is replaced. Whatever dies in between, the
pointer names a whole snapshot, or none. Opening checks manifest, names and sizes, which takes no time at any size;
`verify` reads everything. What may be in such a folder, and what of it is removed, is `snapshot_folder`'s to say.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.errors import ArtifactError
from retrieval import snapshot_folder
from retrieval.snapshot_folder import (
    ASIDE,
    BUILDING,
    FORMAT,
    GRAPH,
    LOCK,
    MANIFEST,
    PARTS,
    POINTER,
    Pointer,
    is_plain,
    name_of,
)

Precision = Literal["f32", "bf16", "f16", "i8"]
"""Numbers in a graph's own copy of the vectors."""

Count = Annotated[int, Field(ge=0, lt=2**31)]
_CHUNK = 1 << 22


class FileEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")
    bytes: int = Field(ge=0)
    sha256: str


class ShardPlace(BaseModel):
    """Up to where one shard of the catalogue is in a snapshot: as `change` and `fingerprint` of its manifest."""

    model_config = ConfigDict(frozen=True)
    change: int = Field(ge=0)
    fingerprint: str


class Manifest(BaseModel):
    """What a snapshot holds. `seal` is the SHA-256 of everything else here, so a half-written manifest is noticed.

    `change` is the number of the first catalogue change that is not in it; `fingerprint` that of the changes before
    (`feed.fingerprint`), so that a table which lost its last writes is not mistaken for the one that was read. Of a
    table of several shards these are of all together, and `shards` says them of each; else it is empty.
    `progress` are the items-log offsets that the table had applied, by partition. `rows` counts items and tombstones,
    `capacity` the rows that the columns have room for, `searchable` the nodes of the graph. A field that a newer
    release added is kept: it is sealed too.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    format: int = FORMAT
    tower_version: str = Field(pattern=r"^[0-9a-f]{1,16}$")
    dim: Count
    precision: Precision
    connectivity: Count
    expansion_add: Count
    rows: Count
    alive: Count
    searchable: Count
    capacity: Count
    change: int = Field(ge=0)
    fingerprint: str
    progress: dict[str, int]
    newest_ms: int
    built_ms: int
    build_s: float
    recall: float | None
    files: dict[str, FileEntry]
    shards: tuple[ShardPlace, ...] = ()
    seal: str = ""

    @property
    def tower(self) -> int:
        """The item tower's version as vectors and encoders carry it; 0: no vectors."""
        return int(self.tower_version, 16)

    def sealed(self) -> Manifest:
        return self.model_copy(update={"seal": self._seal()})

    def _seal(self) -> str:
        left_out = {"seal"} if self.shards else {"seal", "shards"}  # sealed as before tables had shards
        return hashlib.sha256(orjson.dumps(self.model_dump(exclude=left_out), option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def whole(self) -> bool:
        return self.seal == self._seal()


def read_pointer(folder: Path) -> Pointer:
    """Return what serves; an empty pointer where nothing was published. Raises ArtifactError for one that is broken."""
    path = folder / POINTER
    try:
        return Pointer.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Pointer()
    except (OSError, ValidationError) as error:
        raise ArtifactError(f"cannot read {path}: {error}. Remove it and run `nextclick index build`") from error


def write_pointer(folder: Path, pointer: Pointer) -> None:
    """Replace the pointer: readers see the old one or this one."""
    aside = folder / f".{POINTER}.{uuid.uuid4().hex[:8]}"
    write_synced(aside, pointer.model_dump_json().encode() + b"\n")
    os.replace(aside, folder / POINTER)
    sync(folder)


def read_manifest(snapshot: Path) -> Manifest:
    """Read a snapshot's manifest and check that every file it names is there in full size.

    Raises ArtifactError when the snapshot is missing, half-written, edited, or of another format.
    """
    path = snapshot / MANIFEST
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ArtifactError(f"{snapshot} is no whole snapshot: cannot read {MANIFEST}: {error}. {_AGAIN}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise ArtifactError(f"{path}: expected snapshot format {FORMAT}, got {found}. {_AGAIN}")
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        raise ArtifactError(f"{path} is no manifest: {error.errors(include_url=False)[0]}. {_AGAIN}") from error
    if not manifest.whole:
        raise ArtifactError(f"{path}: its seal does not match: it was edited or half-written. {_AGAIN}")
    _expect_own_files(snapshot, manifest)
    for name, entry in manifest.files.items():
        size = (snapshot / name).stat().st_size if (snapshot / name).is_file() else -1
        if size != entry.bytes:
            got = f"{size:,}" if size >= 0 else "no file"
            raise ArtifactError(f"{snapshot / name}: expected {entry.bytes:,} bytes, got {got}. {_AGAIN}")
    return manifest


def _expect_own_files(snapshot: Path, manifest: Manifest) -> None:
    """Raise ArtifactError for a manifest that names what lies elsewhere, or leaves out what is opened by its name."""
    needed = PARTS - {MANIFEST, BUILDING} - (set() if manifest.searchable else {GRAPH})
    if not manifest.dim:
        needed -= {"vectors.npy"}
    if missing := sorted(needed - manifest.files.keys()):
        raise ArtifactError(f"{snapshot / MANIFEST}: names no {missing[0]}: nobody could tell if it is whole. {_AGAIN}")
    for name in manifest.files:
        if not is_plain(name):
            raise ArtifactError(
                f"{snapshot / MANIFEST}: expected names of files beside it, got {name!r:.100}. {_AGAIN}"
            )
    for path in (snapshot, *(snapshot / name for name in manifest.files)):
        if path.is_symlink():
            raise ArtifactError(f"{path}: expected a snapshot's own file, got a link to another place. {_AGAIN}")


_AGAIN = "Build it again with `nextclick index build`, or go back with `nextclick index rollback`"


def expect_model(manifest: Manifest, snapshot: Path, *, version: int, dim: int) -> None:
    """Raise ArtifactError unless the snapshot's vectors are those of this model."""
    if manifest.tower != version or manifest.dim != dim:
        raise ArtifactError(
            f"{snapshot} holds {manifest.dim} dimensions of tower {manifest.tower_version}, "
            f"the encoder is {version:016x} with {dim}: build a snapshot with the encoder's tower"
        )


def verify(snapshot: Path, rest: float = 0.0) -> Manifest:
    """Read every file and compare its SHA-256. Raises ArtifactError for the first that differs, or is gone.

    `rest` is how long to pause for each second of reading, so that what serves beside keeps the processor.
    """
    manifest = read_manifest(snapshot)
    for name in manifest.files:
        verify_file(snapshot, manifest, name, rest)
    return manifest


def verify_file(snapshot: Path, manifest: Manifest, name: str, rest: float = 0.0) -> None:
    """Read one file of a snapshot and compare its SHA-256; else as `verify`."""
    try:
        found = hash_of(snapshot / name, rest)
    except OSError as error:
        raise ArtifactError(f"cannot read {snapshot / name}: {error}. {_AGAIN}") from error
    wanted = manifest.files[name].sha256
    if found != wanted:
        raise ArtifactError(
            f"{snapshot / name}: expected SHA-256 {wanted[:12]}…, got {found[:12]}…: it is damaged. {_AGAIN}"
        )


def entries_of(aside: Path) -> dict[str, FileEntry]:
    """Sync every file of a folder to disk; return their sizes and checksums."""
    entries = {}
    for path in sorted(aside.iterdir()):
        if path.name == BUILDING:
            continue
        sync(path)
        entries[path.name] = FileEntry(bytes=path.stat().st_size, sha256=hash_of(path))
    return entries


def publish(folder: Path, aside: Path, manifest: Manifest) -> str:
    """Seal what lies aside, put it beside the others, point to it, and drop all but it and the one before.

    Returns its name. Processes that have an old snapshot open keep it: its files live until the last map is gone.
    """
    sealed = manifest.sealed()
    write_synced(aside / MANIFEST, orjson.dumps(sealed.model_dump(), option=orjson.OPT_INDENT_2))
    (aside / BUILDING).unlink(missing_ok=True)
    sync(aside)
    name = name_of(sealed.change, sealed.tower_version, sealed.seal)
    if not (folder / name).exists():
        os.rename(aside, folder / name)
    sync(folder)
    before = Pointer()
    with suppress(ArtifactError):
        before = read_pointer(folder)
    previous = before.current if before.current != name else before.previous
    write_pointer(folder, Pointer(current=name, previous=previous))
    snapshot_folder.clean(folder)
    return name


def rollback(folder: Path, *, refuses: bool = True) -> str:
    """Serve the snapshot before the current one; the current one becomes the one before. Returns its name. `refuses`:
    the item tower that is left is not built again before the artifacts hold another one.

    Raises ArtifactError when there is none, or it is no longer whole.
    """
    pointer = read_pointer(folder)
    if pointer.previous is None:
        raise ArtifactError(f"{folder} holds no earlier snapshot to go back to")
    earlier = verify(folder / pointer.previous)
    left = None
    with suppress(ArtifactError):
        left = read_manifest(folder / str(pointer.current)).tower_version
    refused = left if refuses and left != earlier.tower_version else None
    write_pointer(folder, Pointer(current=pointer.previous, previous=pointer.current, refused_tower=refused))
    return pointer.previous


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Hold the folder's lock and give a folder to write into; what is left of it goes.

    Raises ArtifactError when another process builds, OutputRefused for a folder that holds anything else than
    snapshots and what belongs to them: then nothing was touched.
    """
    snapshot_folder.expect_own(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ArtifactError(f"another process builds a snapshot in {folder}: wait for it") from error
        snapshot_folder.clean(folder)
        aside = folder / f"{ASIDE}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        aside.mkdir()
        (aside / BUILDING).touch()
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def hash_of(path: Path, rest: float = 0.0) -> str:
    """Return a file's SHA-256, read in chunks; `rest` as in `verify`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        began = time.monotonic()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if rest:
                time.sleep(rest * (time.monotonic() - began))
                began = time.monotonic()
    return digest.hexdigest()


def write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Make a file's content, or a folder's names, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sizes(manifest: Manifest) -> dict[str, int]:
    """Return the bytes of the graph, the vectors, and all else."""
    graph = sum(entry.bytes for name, entry in manifest.files.items() if name.endswith(".usearch"))
    vectors = sum(entry.bytes for name, entry in manifest.files.items() if name == "vectors.npy")
    return {
        "graph": graph,
        "vectors": vectors,
        "columns": sum(e.bytes for e in manifest.files.values()) - graph - vectors,
    }
