"""Which processes a stack has: the holder of its folder's lock, and that process's children, as /proc tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nextclick.stack.stack_folder import LOCK

_PARTS = {
    b"flows.run_trends": "trends",
    b"gateway": "gateway",
    b"retrieval.builder": "index",
    b"retrieval.shard": "index-shard",
    b"state.relay": "relay",
    b"judge": "judge",
    b"nextclick.stack.retraining": "retrain",
}


class Processes(NamedTuple):
    """Names of a stack's parts that run, and the environment of a gateway of it, empty where there is none."""

    parts: frozenset[str]
    gateway: dict[str, str]


def stack_processes(folder: Path) -> Processes | None:
    """Return a stack's processes; None where they cannot be told (none holds the lock, or in another container)."""
    holder = lock_holder(folder / LOCK)
    if holder is None:
        return None
    parts, gateway = set[str](), dict[str, str]()
    for pid in _children_of(holder):
        name = part_of(_read(pid, "cmdline").split(b"\0"))
        if name is not None and _state_of(pid) != "Z":
            parts.add(name)
        if name == "gateway":
            gateway = _environment(pid)
    return Processes(frozenset(parts), gateway)


def lock_holder(lock: Path) -> int | None:
    """Return who holds a lock; None where nobody does, or nobody that can be seen."""
    with suppress(OSError):
        found = lock.stat()
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if len(words) < 6 or words[1] != "FLOCK":
                continue
            place, pid = words[5].rsplit(":", 1)[1], int(words[4])
            if place == str(found.st_ino) and pid > 0:
                return pid
    return None


def part_of(command: list[bytes]) -> str | None:
    """Return which part of a stack has a command line, in words; None: none."""
    for word in command:
        if word.startswith(b"flows.") and word.endswith(b":flow"):
            return word.removeprefix(b"flows.").removesuffix(b":flow").decode()
        if word in _PARTS and b"-m" in command:
            return _PARTS[word]
    program = command[0].rpartition(b"/")[2].decode(errors="replace")
    return "redis" if program.startswith(("redis-server", "valkey-server")) else None


def _children_of(parent: int) -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit() and _parent_of(int(name)) == parent:
            yield int(name)


def _read(pid: int, what: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{what}").read_bytes()
    return b""


def _fields(pid: int) -> list[bytes]:
    """Return what comes behind a process's name: state, parent, ..."""
    return _read(pid, "stat").rpartition(b")")[2].split()


def _parent_of(pid: int) -> int | None:
    fields = _fields(pid)
    return int(fields[1]) if len(fields) > 1 else None


def _state_of(pid: int) -> str:
    fields = _fields(pid)
    return fields[0].decode() if fields else "Z"


def _environment(pid: int) -> dict[str, str]:
    pairs = (pair.decode(errors="replace").partition("=") for pair in _read(pid, "environ").split(b"\0"))
    return {name: value for name, _, value in pairs if name.startswith("NEXTCLICK_")}
