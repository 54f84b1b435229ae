"""The file beside Redis that holds all erasures: read, and written whole or not at all, for its user alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

NAME: Final = "erasures.json"


def read_list(path: Path) -> bytes | None:
    """Return the file's content, None where there is none. Raises OSError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write_list(path: Path, content: bytes) -> None:
    """Write the file, on the disk. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    aside.unlink(missing_ok=True)
    number = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
