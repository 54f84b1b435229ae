"""Files beside the versions, read whole: never more than they may be, and nothing that is no file.

Whoever opens a pipe waits for its writer, for ever: a gateway looks at these every few seconds.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def expect_a_file(path: Path) -> None:
    """Raise OSError for a link, which may lead anywhere, and for a pipe or device, which may never end."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError("expected a file, found something else in its place")


def content(path: Path, most: int) -> bytes:
    """Return a file's content. Raises OSError for what is no file, and for more than `most` bytes."""
    expect_a_file(path)
    with path.open("rb") as file:
        found = file.read(most + 1)
    if len(found) > most:
        raise OSError(f"expected at most {most:,} bytes, found more")
    return found


def end_of(path: Path, most: int) -> bytes:
    """Return the last bytes of a file, at most so many. Raises OSError for what is no file."""
    expect_a_file(path)
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - most))
        return file.read(most)
