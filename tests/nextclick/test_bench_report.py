from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson

from evaluation.machine import describe_machine
from nextclick.bench.report import BenchRow, write_bench


def test_a_benchmark_file_holds_rows_command_and_machine(tmp_path: Path) -> None:
    rows = [BenchRow("p99", 12.5, "ms", 50.0), BenchRow("rate", 900.0, "1/s", 1000.0, "higher"), BenchRow("n", 3.0, "")]
    path = write_bench("freshness", rows, "nextclick x", folder=tmp_path / "b", at=datetime(2026, 1, 2, tzinfo=UTC))
    report = orjson.loads(path.read_bytes())
    assert path.name == "freshness.json"
    assert report["command"] == "nextclick x"
    assert report["made_at"] == "2026-01-02T00:00:00+00:00"
    assert [row["met"] for row in report["rows"]] == [True, False, None]
    assert report["rows"][0]["name"] == "p99"
    assert report["machine"]["cores"] >= 1


def test_the_machine_reads_as_one_line() -> None:
    assert "cores" in str(describe_machine())
