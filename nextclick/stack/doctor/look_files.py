"""What lies on the disk: free room, models, the index, files that others may read, what killed commands left."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from contracts.errors import NextclickError
from nextclick.stack.doctor.facts import DiskFacts, IndexFacts, ModelFacts
from nextclick.stack.stack_folder import LOCK
from registry.folder import SERVING, VERSIONS, Registry

PRIVATE = ("redis", "logs", "trends", "settings", "feeds")
_OTHERS = 0o077
_LEFT_S = 3600.0
"""What is younger may be at work."""


def disk_at(place: Path) -> DiskFacts:
    """Return the room of the disk that a place is on, or will be."""
    there = next(path for path in (place, *place.parents) if path.exists())
    usage = shutil.disk_usage(there)
    return DiskFacts(there, usage.free, usage.total)


def models_at(artifacts: str, text_model: str) -> ModelFacts:
    """Load the models, and read every version of the registry that they are of."""
    from gateway.models import load_models
    from session_model.serving import load_tower

    broken = None
    try:
        load_models(artifacts)
        load_tower(artifacts, text_model)
    except (NextclickError, OSError) as error:
        broken = str(error)
    folder = Path(artifacts).absolute().parent
    if not artifacts or Path(artifacts).name != SERVING or not (folder / VERSIONS).is_dir():
        return ModelFacts(artifacts or "the general model", broken)
    registry, damaged = Registry(folder), dict[str, str]()
    for name in registry.names():
        try:
            registry.verify(name)
        except NextclickError as error:
            damaged[name] = str(error)
    return ModelFacts(artifacts, broken, registry.serving(), damaged)


def index_at(folder: Path, now_s: float) -> IndexFacts | None:
    """Look at the snapshot that serves: its manifest and its files' sizes; None without one."""
    from retrieval.snapshot import read_manifest, read_pointer
    from retrieval.snapshot_folder import WANTED

    if not folder.is_dir():
        return None
    broken, wanted_s = None, None
    try:
        if (current := read_pointer(folder).current) is not None:
            read_manifest(folder / current)
    except NextclickError as error:
        broken = str(error)
    with suppress(OSError):
        wanted_s = now_s - (folder / WANTED).stat().st_mtime
    return IndexFacts(folder, broken, wanted_s)


def open_files(folder: Path) -> tuple[Path, ...]:
    """Return what others of this machine may read, or enter, of what a stack keeps for itself; nothing of a folder that
    no stack made.
    """
    found: list[Path] = []
    if not (folder / LOCK).is_file():
        return ()
    for top in (folder / name for name in PRIVATE):
        if not top.is_dir():
            continue
        if top.stat().st_mode & _OTHERS:
            found.append(top)  # what is in a closed folder is closed
    return tuple(found)


def leftovers(folder: Path, now_s: float | None = None) -> tuple[Path, ...]:
    """Return what commands that were killed left beside a stack's folder."""
    now = time.time() if now_s is None else now_s
    found = []
    for path in (*folder.parent.glob(".*.part"), *folder.glob(".*.part")):
        with suppress(OSError):
            if now - path.stat().st_mtime > _LEFT_S:
                found.append(path)
    return tuple(sorted(found))
