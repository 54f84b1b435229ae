"""`nextclick bench replay-globo`: a whole recording imported, played fast into a target that checks every session's
order, reported and anonymised; each step by its own command, with its time and its memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import orjson
import typer

from contracts.errors import NextclickError
from evaluation.report import BenchRow, expect_bench
from nextclick.bench.replay import target
from nextclick.show.replay import console

RUN = "bench"
IMPORT_S, IMPORT_MB = 60.0, 500.0
WHOLE = 2_606_813
"""Clicks of the whole publication: only they are held to the import's target."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command, run to its end: seconds of wall time, and the most memory that it held."""

    seconds: float
    memory_mb: float

    def rows(self, name: str, *, target_s: float | None = None, target_mb: float | None = None) -> list[BenchRow]:
        return [
            BenchRow(name, round(self.seconds, 2), "s", target_s),
            BenchRow(f"{name}, most memory", round(self.memory_mb, 1), "MB", target_mb),
        ]


def bench_replay_globo(
    clicks: Annotated[Path, typer.Option(help="The publisher's clicks.zip.")] = Path("../shared/data/globo/clicks.zip"),
    days: Annotated[str, typer.Option(help="Days to take, such as 0:1; left out: all of them.")] = "",
    speed: Annotated[float, typer.Option(help="How many times as fast as it was recorded.")] = 1000.0,
    answer_ms: Annotated[float, typer.Option(help="The target's slowest answers take this long.")] = 10.0,
) -> None:
    """Import the Globo clicks, play them all in one run, and check each session's order in another process.

    The recording spans 13 days: at 1,000 times the speed it takes 19 minutes.
    """
    from eventlog.files import read_header
    from nextclick.bench.figures import finish

    expect_bench("replay-globo")
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as folder:
        recording, result = Path(folder) / "clicks.jsonl.zst", Path(folder) / "result.json"
        imported = run_step("import", "globo", clicks, "-o", recording, *(["--days", days] if days else []))
        events = read_header(recording).events
        whole = events == WHOLE
        rows = [BenchRow("clicks imported", float(events), "events")]
        rows += imported.rows("import", target_s=IMPORT_S if whole else None, target_mb=IMPORT_MB if whole else None)
        rows += play_rows(recording, result, speed, answer_ms, events)
        rows += run_step("replay", "report", result, "-o", Path(folder) / "report.html").rows("report of that run")
        anonymised = Path(folder) / "anonymised.jsonl.zst"
        rows += run_step("replay", "anonymise", recording, anonymised).rows("anonymise")
    rows.append(BenchRow("load of the machine while measuring", round(os.getloadavg()[0], 2), "1 min average"))
    finish("replay-globo", rows, f"make bench-replay-globo ARGS='--speed {speed:g}{f' --days {days}' if days else ''}'")


def run_step(*words: str | Path, accept: tuple[int, ...] = (0,)) -> Step:
    """Run one nextclick command in a process of its own. Raises NextclickError with the end of what it said."""
    command = [sys.executable, "-c", "from nextclick.cli import main; main()", *map(str, words)]
    console.print("nextclick " + " ".join(map(str, words)), highlight=False, soft_wrap=True, style="dim")
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, "TERM": "dumb"})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in accept:
            said.seek(0)
            raise NextclickError(f"{words[0]} {words[1]} failed: {said.read()[-1500:].decode(errors='replace')}")
    return Step(seconds, usage.ru_maxrss / 1024)


def play_rows(recording: Path, result: Path, speed: float, answer_ms: float, events: int) -> list[BenchRow]:
    """Play a recording of `events` into a target in another process that checks their order; writes `result`."""
    waits = ["--wait-ms", "1", f"{answer_ms:g}"]
    with target(*waits, "--order-of", str(recording), "--run", RUN) as url:
        typed = ("replay", "play", recording, "--url", url, "--speed", f"{speed:g}", "--run", RUN, "-o", result)
        played = run_step(*typed, accept=(0, 1))  # 1: something is not to be believed; the figures say what
        arrived = _counts(url)
    told = orjson.loads(result.read_bytes())
    for reason in told["invalid"]:
        console.print(f"latencies are not the target's alone: {reason}", style="yellow")
    return [
        BenchRow(f"clicks played at {speed:g} times", float(told["accepted"]), "events", float(events), "higher"),
        BenchRow(
            "of them seen by the target, in another process", float(arrived["taken"]), "events", float(events), "higher"
        ),
        BenchRow("out of their session's order", float(arrived["out_of_order"]), "events", 0.0),
        BenchRow("not in the recording, or twice", float(arrived["unknown"]), "events", 0.0),
        BenchRow("requests", float(told["requests"]), "requests"),
        BenchRow("lateness of the sender, p99", round(told["sender_lag"]["p99"], 3), "ms"),
        BenchRow("latency from the intended time, p99", round(told["latency"]["p99"], 3), "ms"),
        *played.rows(f"play at {speed:g} times"),
    ]


def _counts(url: str) -> dict[str, int]:
    import uvloop

    from replay.engine.http_client import HttpClient

    async def asked() -> dict[str, int]:
        async with HttpClient(url, connections=1) as http:
            answer = await http.request(http.head("GET", "/"))
            found: dict[str, int] = orjson.loads(answer.body)
            return found

    return uvloop.run(asked())
