"""A small disk of its own that a test can fill, and clear again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

_PIECE = 4096


class SmallDisk:
    """A tmpfs. `fill` takes all its room but a little, `clear` gives back what `fill` took."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Take the room that is left, all but `leave` bytes."""
        free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            for _ in range(max(0, free - leave) // _PIECE):
                file.write(b"x" * _PIECE)

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)


MakeDisk = Callable[[int], SmallDisk]
"""Takes the size in megabytes."""


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """Mount small disks; skips the test where mounting is refused."""
    mounted: list[Path] = []

    def make(megabytes: int) -> SmallDisk:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        options = ["-o", f"size={megabytes}m,mode=700"]
        tried = subprocess.run(
            ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if tried.returncode:
            pytest.skip(f"needs to mount a tmpfs, which is refused here: {tried.stderr.strip()}")
        mounted.append(folder)
        return SmallDisk(folder)

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)
