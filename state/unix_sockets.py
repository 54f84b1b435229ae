"""Unix sockets that nobody but us may reach, where a killed process may have left one."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path


def listen_unix(path: str) -> socket.socket:
    """Return a socket that listens at `path`. Raises OSError where somebody else does, or a file is in the way."""
    _make_way(Path(path))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o077)  # nobody but us
    try:
        listener.bind(path)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.listen(64)
    return listener


def _make_way(path: Path) -> None:
    """Remove a socket that a killed process left. Raises OSError where somebody listens, or it is no socket."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise OSError("there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
        else:
            raise OSError("somebody listens there")
