"""A folder's every byte, to see that a command has touched nothing."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def tree_of(folder: Path) -> dict[str, str]:
    """Return what is at every path below a folder: a file's SHA-256, where a link leads, or that it is a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "special"
    return found
