"""`nextclick index push | pull`: the snapshot that serves, to and from an object store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from rich.console import Console

from contracts.errors import ArtifactError, SettingsError
from contracts.settings import ServiceSettings
from nextclick.stack.options import setting_option
from nextclick.stack.settings import with_given

console = Console()

Folder = Annotated[Path | None, setting_option("index.folder", help="Folder of snapshots.")]
Address = Annotated[str | None, setting_option("index.store", help="Object store, such as s3://bucket/index.")]


def push(folder: Folder = None, store: Address = None) -> None:
    """Copy the snapshot that serves to an object store, once every file was read and compared."""
    from retrieval.snapshot import read_pointer
    from retrieval.snapshot_store import SnapshotStore

    path, url = _both(folder, store)
    current = read_pointer(path).current
    if current is None:
        raise ArtifactError(f"{path} holds no snapshot: run `nextclick index build`")
    to, began = SnapshotStore(url), time.monotonic()
    pushed = to.push(path)
    said = f"pushed to {to.url} in {time.monotonic() - began:.1f} s" if pushed else f"was already at {to.url}"
    console.print(f"{current}: {said}", markup=False, soft_wrap=True, highlight=False)


def pull(folder: Folder = None, store: Address = None) -> None:
    """Copy the snapshot that serves in an object store, and let it serve here: checksums are compared as it comes."""
    from retrieval.snapshot_store import SnapshotStore

    path, url = _both(folder, store)
    there, began = SnapshotStore(url), time.monotonic()
    current = there.current().current
    if current is None:
        raise ArtifactError(f"{there.url} holds no snapshot: run `nextclick index push` where one serves")
    pulled = there.pull(path)
    said = f"from {there.url} in {time.monotonic() - began:.1f} s" if pulled else "served here already"
    console.print(f"{current}: {said}", markup=False, soft_wrap=True, highlight=False)


def _both(folder: Path | None, store: str | None) -> tuple[Path, str]:
    """Return the folder and the store. Raises SettingsError where one is named nowhere."""
    options = with_given(ServiceSettings(), {"index.folder": folder and str(folder), "index.store": store}).index
    if not options.folder:
        raise SettingsError("expected a folder of snapshots: pass --folder, or set NEXTCLICK_INDEX__FOLDER")
    if not options.store:
        raise SettingsError("expected an object store: pass --store, or set NEXTCLICK_INDEX__STORE")
    return Path(options.folder), options.store
