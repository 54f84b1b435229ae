"""Files and folders that no other user of the machine may read, and the password that lies in one of them."""

from __future__ import annotations

import logging
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("nextclick.redis")

PRIVATE_UMASK = 0o077
_FOLDER, _FILE, _OTHERS = 0o700, 0o600, 0o077


def make_private(folder: Path) -> None:
    """Make a folder if it is not there, and take other users' rights to it and to all that lies in it.

    What belongs to another user is left as it is, and said. Raises OSError where the folder cannot be made.
    """
    folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
    for path in [folder, *folder.rglob("*")]:
        with suppress(FileNotFoundError):  # gone meanwhile
            _close_to_others(path)


def _close_to_others(path: Path) -> None:
    if path.is_symlink() or not path.stat().st_mode & _OTHERS:
        return
    try:
        path.chmod(_FOLDER if path.is_dir() else _FILE)
    except PermissionError as error:
        log.warning("%s: other users of this machine may read it, and that cannot be changed (%s)", path, error)


def write_private(path: Path, text: str) -> None:
    """Have a file of this user alone hold a text. One that does already is not touched: that works on a full disk.

    Raises OSError, with no file there.
    """
    with suppress(OSError, UnicodeDecodeError):
        if path.read_text() == text and not path.stat().st_mode & _OTHERS:
            return
    path.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE), "w") as file:
            file.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def password_in(config: Path) -> str:
    """Return the password that a Redis configuration of ours holds; a new one where there is none."""
    with suppress(OSError, UnicodeDecodeError):
        if found := re.fullmatch(r"requirepass ([0-9a-f]{32})\n", config.read_text()):
            return found[1]
    return secrets.token_hex(16)
