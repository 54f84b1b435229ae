"""Benchmark figures as JSON: one file a benchmark, with the machine and the command beside the figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import orjson

from contracts.outputs import expect_replaceable, json_kind, write_output

BENCH_FOLDER = Path("build/bench")
BENCH = json_kind("figures of a benchmark", "name", "command", "machine", "rows")


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One figure. `better` says which way is good; `target` is what it should reach, None for a plain fact."""

    name: str
    value: float
    unit: str
    target: float | None = None
    better: Literal["lower", "higher"] = "lower"

    @property
    def met(self) -> bool | None:
        """Whether the target is reached, None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.better == "lower" else self.value >= self.target


@dataclass(frozen=True, slots=True)
class Machine:
    """Where figures were made."""

    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores, {self.memory_gb:g} GB, {self.system}, Python {self.python}"


def describe_machine() -> Machine:
    """Describe this machine. `cores` are those that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}"
    return Machine(_cpu_name(), cores, round(memory, 1), system, platform.python_version())


def expect_bench(name: str, *, folder: Path = BENCH_FOLDER) -> None:
    """Raise OutputRefused unless `write_bench` may write its file: look before measuring."""
    expect_replaceable(folder / f"{name}.json", BENCH)


def write_bench(
    name: str, rows: Sequence[BenchRow], command: str, *, folder: Path = BENCH_FOLDER, at: datetime | None = None
) -> Path:
    """Write `<folder>/<name>.json` and return its path. `command` is what made the figures; `at` defaults to now."""
    path = folder / f"{name}.json"
    write_bench_file(path, name, rows, command, at=at)
    return path


def write_bench_file(
    path: Path, name: str, rows: Sequence[BenchRow], command: str, *, at: datetime | None = None
) -> None:
    """The same into a file of any name."""
    report = {
        "name": name,
        "command": command,
        "made_at": (at or datetime.now(UTC)).isoformat(timespec="seconds"),
        "machine": asdict(describe_machine()),
        "rows": [{**asdict(row), "met": row.met} for row in rows],
    }
    write_output(path, orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE), BENCH)


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
