"""What recording costs a gateway: two of one stack, one that records and one that does not, driven in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import StartupError
from eventlog.files import read_header
from gateway.record_files import FINISHED, PART, PREFIX
from nextclick.bench.drive import Drive, drive
from nextclick.bench.report import BenchRow
from nextclick.stack.client import Client
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack
from state.ports import free_port

READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway process."""

    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class Driven:
    """One run into one gateway, and the processor time that an event cost it, us."""

    drive: Drive
    cpu_us: float


def recording_rows(rate: float, seconds: float, pairs: int) -> list[BenchRow]:
    """Drive two gateways of a stack at a rate, in turns; return the medians of on over off, pair by pair."""
    count = round(rate * seconds)
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder:
        options = StackOptions(port=0, folder=Path(folder) / "stack")
        recordings = Path(folder) / "recorded"
        with (
            Stack(StackSettings(stack=options)) as stack,
            gateway_beside(stack, "recording", {"NEXTCLICK_RECORD__TO": str(recordings)}) as recording,
            gateway_beside(stack, "plain", {}) as plain,
        ):
            with_it, without = _in_turns(recording, plain, rate, count, pairs)
        recorded = _recorded(recordings)
    sent = (pairs + 1) * count
    rows = [BenchRow(f"events recorded, of {sent:,} at {rate:g}/s", float(recorded), "events", float(sent), "higher")]
    for name in ("p50", "p99"):
        here, there = (
            [getattr(one.drive.played.timings.service(), name) for one in runs] for runs in (with_it, without)
        )
        rows.append(BenchRow(f"event, {name} from sending, recording off", _median(there), "ms"))
        rows.append(BenchRow(f"event, {name} from sending, recording on over off", _ratio(here, there), "ratio"))
    here, there = ([one.cpu_us for one in runs] for runs in (with_it, without))
    rows.append(BenchRow("processor time an event, recording off", _median(there), "us"))
    rows.append(BenchRow("processor time an event, recording on over off", _ratio(here, there), "ratio"))
    return rows


def _recorded(folder: Path) -> int:
    """Return how many events are on file, once the processes that finish files are through: they outlive a gateway."""
    until = time.monotonic() + READY_S
    while any(folder.glob(f".{PREFIX}*{PART}")) and time.monotonic() < until:
        time.sleep(0.05)
    return sum(read_header(path).events for path in folder.glob(f"{PREFIX}*{FINISHED}"))


def _in_turns(
    recording: Gateway, plain: Gateway, rate: float, count: int, pairs: int
) -> tuple[list[Driven], list[Driven]]:
    """Drive both once to warm them, then in pairs; whoever begins a pair changes, as the machine does meanwhile."""
    with_it, without = list[Driven](), list[Driven]()
    for turn in range(pairs + 1):
        both = [(with_it, recording), (without, plain)]
        for runs, gateway in both if turn % 2 else both[::-1]:
            runs.append(_driven(gateway, rate, count))
    return with_it[1:], without[1:]


@contextmanager
def gateway_beside(stack: Stack, name: str, more: dict[str, str]) -> Iterator[Gateway]:
    """Run one more gateway of a stack. Both are started here, alike, as that shows on a busy machine."""
    like, port = stack.child("gateway-0"), free_port()
    env = {**like.env, "NEXTCLICK_GATEWAY__PORT": str(port), **more}
    log_file = stack.folder / "logs" / f"{name}.log"
    log = log_file.open("wb")
    process = subprocess.Popen(like.command, env=env, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        with Client(url) as client:
            until = time.monotonic() + READY_S
            while not client.is_ready():
                if process.poll() is not None or time.monotonic() > until:
                    raise StartupError(f"the {name} gateway did not start: {log_file.read_text()[-1500:]}")
                time.sleep(0.05)
        yield Gateway(url, process.pid)
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _driven(gateway: Gateway, rate: float, count: int) -> Driven:
    before = _cpu_s(gateway.pid)
    found = drive(gateway.url, rate, count, connections=32, pinned=False, run=f"bench{time.monotonic_ns()}")
    return Driven(found, (_cpu_s(gateway.pid) - before) / count * 1e6)


def _cpu_s(pid: int) -> float:
    """Return the processor time of a process so far, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 3)


def _ratio(on: list[float], off: list[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(on, off, strict=True)), 3)
