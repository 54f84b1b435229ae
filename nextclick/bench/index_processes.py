"""Parts of the index bench that want a process of their own: opening a snapshot, and what a second reader adds."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orjson

from contracts.settings import IndexSettings
from nextclick.bench.index_files import MODEL, NEIGHBOURS, Progress, folder_of, label
from nextclick.bench.report import BenchRow
from nextclick.bench.vectors import DIM, clustered
from retrieval.live import open_snapshot

_SEARCHES = 2000


def open_rows(size: int, name: str, progress: Progress) -> list[BenchRow]:
    """Measure the time to the first answer in a fresh process, and what a second one adds to the first one's memory."""
    progress(f"{label(size)}: opening in a new process")
    first = _start_reader(size, name)
    alone = _ask(first, "memory")
    progress(f"{label(size)}: a second process")
    second = _start_reader(size, name)
    added = _ask(second, "memory")  # it answers once everything is mapped, and only then is the rest shared
    together = _ask(first, "memory")["pss_mb"] + added["pss_mb"]
    opened = _ask(second, "opened")
    for reader in (first, second):
        reader.stdin.close()  # type: ignore[union-attr]
        reader.wait()
    return [
        BenchRow(f"{label(size)}: open to first answer, first process", alone["open_s"], "s", 1.0),
        BenchRow(f"{label(size)}: open to first answer, second process", opened["open_s"], "s", 1.0),
        BenchRow(f"{label(size)}: read from disk or page cache to open", alone["read_mb"], "MB"),
        BenchRow(f"{label(size)}: first process, index memory (PSS)", alone["pss_mb"], "MB"),
        BenchRow(
            f"{label(size)}: second process adds", 100 * (together - alone["pss_mb"]) / alone["pss_mb"], "%", 15.0
        ),
        BenchRow(f"{label(size)}: second process, private memory", added["private_mb"], "MB"),
    ]


def reader_main(folder: str, name: str) -> None:
    """A process that opens a snapshot and answers to lines of stdin: what `open_rows` asks."""
    query, more = clustered(1, seed=9), clustered(_SEARCHES, seed=3)
    empty = _memory()
    began = time.perf_counter()
    opened = open_snapshot(Path(folder), name, IndexSettings(folder=folder), model=(MODEL, DIM))
    opened.index.search(query, NEIGHBOURS)
    open_s = time.perf_counter() - began
    read_mb = _memory()["rss_mb"] - empty["rss_mb"]
    for one in more:
        opened.index.search(one[None], NEIGHBOURS)
    np.add.reduce(opened.columns.vectors[: opened.columns.count : 8].sum(axis=1))  # every page of the vectors
    for asked in sys.stdin:
        answer = {"open_s": open_s, "read_mb": read_mb}
        if asked.strip() == "memory":
            memory = _memory()
            answer |= {part: memory[part] - empty[part] for part in memory}
        sys.stdout.write(orjson.dumps(answer).decode() + "\n")
        sys.stdout.flush()


def _start_reader(size: int, name: str) -> subprocess.Popen[str]:
    code = f"from nextclick.bench.index_processes import reader_main; reader_main({str(folder_of(size))!r}, {name!r})"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(reader: subprocess.Popen[str], what: str) -> dict[str, float]:
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write(what + "\n")
    reader.stdin.flush()
    answer: dict[str, float] = orjson.loads(reader.stdout.readline())
    return answer


def _memory() -> dict[str, float]:
    found = {"Rss:": 0.0, "Pss:": 0.0, "Private_Clean:": 0.0, "Private_Dirty:": 0.0}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name, *rest = line.split()
        if name in found:
            found[name] = int(rest[0]) / 1024
    private = found["Private_Clean:"] + found["Private_Dirty:"]
    return {"rss_mb": found["Rss:"], "pss_mb": found["Pss:"], "private_mb": private}
