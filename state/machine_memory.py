"""How much memory this machine has, or the container that we are in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_memory(limits: Sequence[Path] = _LIMITS) -> int:
    """Return bytes: the machine's, or the limit of its control group where that is lower."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in limits:
        try:
            memory = min(memory, int(path.read_text()))
        except (OSError, ValueError):  # there is none, or it says "max"
            continue
    return memory
