"""Who spent processor time: the operating system's own accounting of a stack's processes, /proc/PID/stat."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nextclick.stack.stack import Stack

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM, _RESIDENT = 11, 12, 13, 14, 21
"""Places in the line of /proc/PID/stat, counted from the state, which follows the name in brackets."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far: processor seconds (its ended children counted), and the memory that it holds."""

    cpu_s: float
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """The usage of every process by name, at a moment of `time.monotonic`; what all processes of the machine had used
    by then, and what this one had with its ended children.
    """

    at_s: float
    by_name: Mapping[str, Usage]
    machine_s: float = 0.0
    own_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds by process, between two looks that lie `elapsed_s` apart; `others_s` what went to processes
    that are neither the stack's nor this one's, and to other machines on the same hardware.
    """

    elapsed_s: float
    cpu_s: Mapping[str, float]
    others_s: float = 0.0

    @property
    def total_s(self) -> float:
        return sum(self.cpu_s.values())

    @property
    def others_cores(self) -> float:
        """How many cores others kept busy."""
        return self.others_s / self.elapsed_s if self.elapsed_s else 0.0

    def share(self, name: str) -> float:
        """Return what a process used of one core, in %."""
        return 100.0 * self.cpu_s[name] / self.elapsed_s if self.elapsed_s else 0.0

    def each_us(self, count: int, idle: Spent | None = None) -> dict[str, float]:
        """Return microseconds a thing by process, for `count` things; without what would have been used `idle`. Below 0
        is a process that used less than when it was idle: work from before reached into the look at an idle stack.
        """
        found = {}
        for name, seconds in self.cpu_s.items():
            unasked = idle.share(name) / 100.0 * self.elapsed_s if idle is not None and name in idle.cpu_s else 0.0
            found[name] = (seconds - unasked) / max(1, count) * 1e6
        return found


def parse_stat(line: str) -> Usage:
    """Read a line of /proc/PID/stat. The program's name stands in brackets and may hold spaces and brackets itself."""
    fields = line.rpartition(")")[2].split()
    places = (_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM)
    ticks = sum(int(fields[place]) for place in places)
    return Usage(ticks / TICKS_A_SECOND, int(fields[_RESIDENT]) * PAGE_BYTES)


def parse_machine(text: str) -> float:
    """Return the processor seconds that were not idle, on all cores, from /proc/stat: time stolen by the host counts,
    time of guests stands in user time already.
    """
    user, nice, system, _idle, _waiting, *rest = (int(field) for field in text.splitlines()[0].split()[1:])
    return (user + nice + system + sum(rest[:3])) / TICKS_A_SECOND


def spent_between(before: Accounts, after: Accounts) -> Spent:
    """Return what was spent between two looks. A process that was not there before, or began anew, counts from 0."""
    cpu_s = {}
    for name, usage in after.by_name.items():
        earlier = before.by_name[name].cpu_s if name in before.by_name else 0.0
        cpu_s[name] = usage.cpu_s - (earlier if earlier <= usage.cpu_s else 0.0)
    others_s = (after.machine_s - before.machine_s) - (after.own_s - before.own_s) - sum(cpu_s.values())
    return Spent(after.at_s - before.at_s, cpu_s, max(0.0, others_s))


def look(pids: Mapping[str, int]) -> Accounts:
    """Look at processes by name; one that is gone is left out."""
    found = {}
    for name, pid in pids.items():
        try:
            found[name] = parse_stat(Path(f"/proc/{pid}/stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    machine_s = parse_machine(Path("/proc/stat").read_text())
    return Accounts(time.monotonic(), found, machine_s, sum(os.times()[:4]))


def pids_of(stack: Stack) -> dict[str, int]:
    """Return the process ids of a running stack's parts, by name."""
    assert stack.supervisor is not None
    return {part.name: part.process.pid for part in stack.supervisor.parts if part.process is not None}


def until_calm(pids: Mapping[str, int], *, most: float = 40.0, within_s: float = 60.0) -> bool:
    """Wait until all processes together use less than `most` % of a core over a second. Tells whether they came to."""
    until = time.monotonic() + within_s
    before = look(pids)
    while time.monotonic() < until:
        time.sleep(1.0)
        after = look(pids)
        spent = spent_between(before, after)
        if 100.0 * spent.total_s / spent.elapsed_s < most:
            return True
        before = after
    return False
