"""The folder of models.

    <folder>/versions/<name>/version.json     what the version is, with the size and SHA-256 of each file
    <folder>/versions/<name>/...              the artifacts: session_model/, reranker/
    <folder>/serving                          a link to the version that serves: what NEXTCLICK_ARTIFACTS names
    <folder>/previous                         a link to the one that served before
    <folder>/pinned                           a link to the version that nothing may replace by itself
    <folder>/shadow.json                      which version answers beside it, for nobody to see
    <folder>/history.jsonl                    who made which version serve, when and why
    <folder>/retrained.json                   how the last retrainings went (`registry.retrained`)
    <folder>/.adding-*                        a version that is being copied
    <folder>/lock                             held by whoever changes anything

A version is copied aside, synced and renamed, and never changed after. Which one serves is one link, replaced in one
step: whoever reads the artifacts sees the old version or the new one, whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.errors import ArtifactError, OutputRefused, SettingsError
from contracts.outputs import read_document
from registry.plain_files import content, end_of, expect_a_file
from registry.retrained import FILE as RETRAINED
from registry.shadow import SHADOW, ShadowChoice
from registry.version import FORMAT, MANIFEST, NAME, DataRange, FileEntry, ModelVersion

VERSIONS: Final = "versions"
SERVING, PREVIOUS, PINNED = "serving", "previous", "pinned"
HISTORY, LOCK, ASIDE = "history.jsonl", "lock", ".adding-"
PARTS: Final = ("session_model", "reranker", "rerankers")
"""Folders of artifacts that make a version."""
MOST_HISTORY: Final = 1000
MOST_MANIFEST: Final = 16 << 20
_MOST_CHOICE: Final = 1 << 16
_HISTORY_BYTES: Final = 4 << 20
_CHUNK: Final = 1 << 20
_LEFT_S: Final = 3600.0


class Served(BaseModel):
    """One line of the history."""

    model_config = ConfigDict(frozen=True)
    at_ms: int
    name: str
    before: str | None
    did: str
    by: str = ""
    why: str = ""


class Registry:
    """Versions in a folder. Any process may read it at any time; changes hold the folder's lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Return all versions, the oldest first."""
        found = self.folder / VERSIONS
        return sorted(one.name for one in found.iterdir() if NAME.fullmatch(one.name)) if found.is_dir() else []

    def read(self, name: str) -> ModelVersion:
        """Return the facts of a version. Raises ArtifactError for one that is not there, or damaged."""
        path = self.path_of(name) / MANIFEST
        try:
            found = ModelVersion.model_validate_json(content(path, MOST_MANIFEST))
        except FileNotFoundError as error:
            known = ", ".join(self.names()[-5:]) or "none"
            raise ArtifactError(
                f"expected a version in {self.folder}, got {name!r}; the newest are {known} (nextclick models list)"
            ) from error
        except (OSError, ValidationError) as error:
            raise ArtifactError(f"cannot read {path}: {error}: copy the version again") from error
        if not found.whole or found.name != name:
            raise ArtifactError(f"{path}: expected what was written, found it changed: copy the version again")
        return found

    def path_of(self, name: str) -> Path:
        """Return a version's folder. Raises SettingsError for what is no name of one."""
        if not NAME.fullmatch(name):
            raise SettingsError(
                f"expected the name of a version, such as 20261129T045300-1f3a9c2e, got {name[:60]!r} "
                "(nextclick models list)"
            )
        return self.folder / VERSIONS / name

    def verify(self, name: str) -> ModelVersion:
        """Read every file of a version and compare. Raises ArtifactError."""
        version, folder = self.read(name), self.path_of(name)
        for path, entry in version.files.items():
            try:
                expect_a_file(folder / path)
                got = _entry(folder / path)
            except OSError as error:
                raise ArtifactError(f"cannot read {folder / path}: {error}: copy the version again") from error
            if got != entry:
                raise ArtifactError(f"{folder / path}: expected SHA-256 {entry.sha256}, got {got.sha256}")
        return version

    def add(
        self,
        artifacts: Path,
        *,
        now_ms: int,
        by: str = "",
        note: str = "",
        parent: str | None = None,
        code_version: str = "",
        settings: Mapping[str, Any] | None = None,
        data: DataRange | None = None,
        figures: Mapping[str, float] | None = None,
    ) -> ModelVersion:
        """Copy a folder of artifacts as a new version; it does not serve yet. The very same files are one version.

        Raises ArtifactError where there is no session model and no re-ranker, OutputRefused where the folder is none of
        models.
        """
        parts = _parts_of(artifacts)
        with self._locked():
            aside = self.folder / f"{ASIDE}{os.getpid()}-{uuid.uuid4().hex[:8]}"
            try:
                files = _copied(parts, artifacts, aside)
                digest = hashlib.sha256(orjson.dumps({path: one.sha256 for path, one in files.items()})).hexdigest()[:8]
                for name in reversed([name for name in self.names() if name.endswith(digest)]):
                    if (same := self._whole(name)) is not None and same.files == files:
                        return same
                version = ModelVersion(
                    name=self._free_name(now_ms, digest),
                    made_ms=now_ms,
                    by=by,
                    note=note,
                    parent=parent,
                    code_version=code_version,
                    session_model=_said(aside / "session_model", "version"),
                    reranker=_said(aside / "reranker", "sha256"),
                    settings=dict(settings or {}),
                    data=data or DataRange(),
                    figures=dict(figures or {}),
                    files=files,
                ).sealed()
                _write(aside / MANIFEST, orjson.dumps(version.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
                (self.folder / VERSIONS).mkdir(exist_ok=True)
                aside.rename(self.path_of(version.name))
                _sync(self.folder / VERSIONS)
                return version
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def take(self, version: ModelVersion, fill: Callable[[Path], None]) -> None:
        """Keep a version that was made elsewhere: `fill` writes its files into a folder, and raises where one is not
        what the version says.
        """
        with self._locked():
            aside = self.folder / f"{ASIDE}{os.getpid()}-{uuid.uuid4().hex[:8]}"
            try:
                aside.mkdir()
                fill(aside)
                for path in version.files:
                    _sync(aside / path)
                _write(aside / MANIFEST, orjson.dumps(version.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
                (self.folder / VERSIONS).mkdir(exist_ok=True)
                aside.rename(self.path_of(version.name))
                _sync(self.folder / VERSIONS)
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def _whole(self, name: str) -> ModelVersion | None:
        """Return a version; None for one that is damaged, which is then to be copied again."""
        try:
            return self.verify(name)
        except ArtifactError:
            return None

    def _free_name(self, now_ms: int, digest: str) -> str:
        """Return a name that no version has: a damaged one of the same files may have that of this second."""
        moment = datetime.fromtimestamp(now_ms / 1000, UTC)
        while (name := f"{moment:%Y%m%dT%H%M%S}-{digest}") in self.names():
            moment += timedelta(seconds=1)
        return name

    def serving(self) -> str | None:
        return self._link(SERVING)

    def previous(self) -> str | None:
        """Return what served before. Where whoever published was killed between the two links, the history knows."""
        name, serving = self._link(PREVIOUS), self.serving()
        if name is None or name != serving:
            return name
        past = (one.before for one in reversed(self.history()) if one.name == serving and one.before != serving)
        return next(past, None)

    def pinned(self) -> str | None:
        return self._link(PINNED)

    def publish(self, name: str, *, now_ms: int, by: str = "", why: str = "", did: str = "published") -> Served:
        """Make a version serve. Raises ArtifactError for one that is damaged, SettingsError while another is pinned."""
        with self._locked():
            pinned = self.pinned()
            if pinned is not None and pinned != name:
                raise SettingsError(f"{pinned} is pinned: `nextclick models pin --none` first, or leave it")
            self.verify(name)
            before = self.serving()
            if before == name:
                return Served(at_ms=now_ms, name=name, before=before, did="kept", by=by, why=why)
            if before is not None:
                self._point(PREVIOUS, before)
            self._point(SERVING, name)
            return self._remember(Served(at_ms=now_ms, name=name, before=before, did=did, by=by, why=why))

    def rollback(self, *, now_ms: int, by: str = "", why: str = "") -> Served:
        """Make the version serve that served before. Raises ArtifactError where there is none."""
        name = self.previous()
        if name is None or name == self.serving():
            raise ArtifactError(f"expected a version in {self.folder} that served before, found none")
        return self.publish(name, now_ms=now_ms, by=by, why=why, did="rolled back")

    def pin(self, name: str | None, *, now_ms: int | None = None, by: str = "", why: str = "") -> Served | None:
        """Let nothing replace a version by itself; None: let it again. With a time it is a line of the history."""
        with self._locked():
            before = self.pinned()
            if name is None:
                (self.folder / PINNED).unlink(missing_ok=True)
            else:
                self.read(name)
                self._point(PINNED, name)
            if now_ms is None or name == before:
                return None
            did = "let go" if name is None else "pinned"
            about = name or before or ""
            return self._remember(Served(at_ms=now_ms, name=about, before=before, did=did, by=by, why=why))

    def shadow(self) -> ShadowChoice | None:
        """Return the candidate that answers beside what serves; None without one, or for a file that is none."""
        try:
            return ShadowChoice.model_validate_json(content(self.folder / SHADOW, _MOST_CHOICE))
        except (OSError, ValidationError):
            return None

    def put_in_shadow(self, choice: ShadowChoice | None) -> None:
        """Have a version answer beside what serves; None: no more. Raises ArtifactError for one that is damaged."""
        with self._locked():
            if choice is None:
                (self.folder / SHADOW).unlink(missing_ok=True)
                return
            version = self.verify(choice.name)
            if version.reranker is None:
                raise ArtifactError(f"expected a re-ranker in {choice.name}, found none: only those answer beside")
            aside = self.folder / f"{ASIDE}{uuid.uuid4().hex[:8]}.json"
            _write(aside, choice.model_dump_json().encode())
            aside.rename(self.folder / SHADOW)
            _sync(self.folder)

    def keep_newest(self, count: int) -> list[str]:
        """Remove the oldest versions until `count` are left, but none that serves, served before, is in the shadow or
        pinned. Returns their names. Raises OSError.
        """
        with self._locked():
            shadow = self.shadow()
            stay = {self.serving(), self.previous(), self.pinned(), shadow.name if shadow is not None else None}
            names = self.names()
            gone = [name for name in names[: max(0, len(names) - count)] if name not in stay]
            for name in gone:
                aside = self.folder / f"{ASIDE}{name}"  # whoever is killed here leaves no half version
                self.path_of(name).rename(aside)
                shutil.rmtree(aside)
            return gone

    def history(self) -> list[Served]:
        """Return what served, the oldest first; lines that cannot be read are left out."""
        found: list[Served] = []
        with suppress(OSError):
            for line in end_of(self.folder / HISTORY, _HISTORY_BYTES).splitlines()[-MOST_HISTORY:]:
                with suppress(ValidationError):
                    found.append(Served.model_validate_json(line))
        return found

    def _remember(self, served: Served) -> Served:
        if (self.folder / HISTORY).exists():
            expect_a_file(self.folder / HISTORY)
        with (self.folder / HISTORY).open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            torn = b"\n" if file.read(1) not in (b"", b"\n") else b""  # whoever wrote the last line was killed
            file.write(torn + served.model_dump_json().encode() + b"\n")
        return served

    def _link(self, name: str) -> str | None:
        try:
            target = Path(os.readlink(self.folder / name))
        except OSError:
            return None
        return target.name if NAME.fullmatch(target.name) and target.parent == Path(VERSIONS) else None

    def _point(self, link: str, name: str) -> None:
        aside = self.folder / f".{link}-{uuid.uuid4().hex[:8]}"
        aside.symlink_to(Path(VERSIONS) / name)
        aside.rename(self.folder / link)
        _sync(self.folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        strange = [one.name for one in self.folder.iterdir() if not _is_ours(one)]
        if strange:
            raise OutputRefused(
                f"{self.folder}: expected a folder of models or an empty one, found {', '.join(sorted(strange)[:4])} "
                "in it: it was left as it is; name another one"
            )
        with (self.folder / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self.folder.glob(".*"):  # by whoever was killed: nobody else is at work now
                if left.is_symlink() or (left.name.startswith(ASIDE) and left.is_file()):
                    left.unlink()
                elif left.name.startswith(ASIDE):
                    shutil.rmtree(left, ignore_errors=True)
                elif left.name.startswith(f".{RETRAINED}.") and time.time() - left.stat().st_mtime > _LEFT_S:
                    left.unlink(missing_ok=True)  # notes are made without the lock: a young one may be in the making
            yield


def _is_ours(path: Path) -> bool:
    known = (VERSIONS, HISTORY, LOCK, SHADOW, RETRAINED)
    is_link = path.is_symlink() and (path.name in (SERVING, PREVIOUS, PINNED) or path.name.startswith("."))
    return path.name in known or is_link or path.name.startswith((ASIDE, f".{RETRAINED}."))


def _parts_of(artifacts: Path) -> list[Path]:
    """Return the folders that make a version. Raises ArtifactError where there is neither model."""
    parts = [artifacts / name for name in PARTS if (artifacts / name).is_dir()]
    if not any(part.name in PARTS[:2] for part in parts):
        raise ArtifactError(f"expected session_model/ or reranker/ in {artifacts}, found neither: train models first")
    return parts


def _copied(parts: list[Path], artifacts: Path, aside: Path) -> dict[str, FileEntry]:
    """Copy the parts of a folder of artifacts, synced; returns its files. Links are not followed."""
    found: dict[str, FileEntry] = {}
    for part in parts:
        for path in sorted(part.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            to = aside / path.relative_to(artifacts)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
            _sync(to)
            found[str(path.relative_to(artifacts))] = _entry(to)
    return found


def _said(folder: Path, field: str) -> str | None:
    """Return what a part's own manifest says of its version, 16 hex digits."""
    document = read_document(folder / "manifest.json")
    said = document.get(field) if document is not None else None
    return said[:16] if isinstance(said, str) else None


def _entry(path: Path) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileEntry(bytes=size, sha256=digest.hexdigest())


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def version_of(artifacts: str) -> str | None:
    """Return the version that a folder of artifacts is, through the link that serves; None for one of no registry."""
    folder = Path(artifacts).resolve()
    document = read_document(folder / MANIFEST)
    name = document.get("name") if document is not None and document.get("format") == FORMAT else None
    return name if isinstance(name, str) and NAME.fullmatch(name) else None
