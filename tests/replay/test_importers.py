from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import ImportFormatError
from eventlog.files import read_events, read_header
from replay.importers import IMPORTERS, Globo, Hours, Imported, import_log
from replay.importers.globo import COLUMNS, FIRST_MIDNIGHT_MS, HOUR_MS
from replay.importers.sorting import sort_by_time

START = FIRST_MIDNIGHT_MS


def row(user: int, session: int, article: int, ts_ms: int) -> str:
    return f"{user},{session},{ts_ms - 1},2,{article},{ts_ms},4,3,20,1,21,2"


def hour_file(*rows: str) -> str:
    return "\n".join([",".join(COLUMNS), *rows]) + "\n"


HOURS = {
    "clicks/clicks_hour_000.csv": hour_file(
        row(1, 100, 7, START + 50), row(1, 100, 8, START + 30 * HOUR_MS), row(2, 200, 7, START + 10)
    ),
    "clicks/clicks_hour_024.csv": hour_file(row(3, 300, 9, START + 24 * HOUR_MS + 5)),
}


def as_folder(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "source"


def as_zip(folder: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(folder / "clicks.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return folder / "clicks.zip"


def run(source: Path, folder: Path, hours: Hours | None = None, *, strict: bool = False) -> Imported:
    return import_log(IMPORTERS["globo"], source, folder / "out.jsonl.zst", hours=hours, strict=strict)


def clicks(log: Path) -> list[tuple[str, str | None]]:
    return [(event.session_id, event.item_id) for event in read_events(log)]


@pytest.mark.parametrize("packed", [as_folder, as_zip])
def test_globo_clicks_become_one_log_in_time_order(
    tmp_path: Path, packed: Callable[[Path, dict[str, str]], Path]
) -> None:
    imported = run(packed(tmp_path, HOURS), tmp_path)
    events = list(read_events(tmp_path / "out.jsonl.zst"))
    assert [event.event_id for event in events] == [
        "globo-f44f0220d9-4",
        "globo-f44f0220d9-2",
        "globo-0af8274c47-2",
        "globo-f44f0220d9-3",
    ]
    assert events[0].model_dump(exclude_none=True) == {
        "v": 1,
        "event_id": "globo-f44f0220d9-4",
        "type": "view",
        "session_id": "200",
        "user_id": "2",
        "item_id": "7",
        "ts": START + 10,
        "context": {
            "device": "3",
            "os": "20",
            "country": "1",
            "region": "21",
            "referrer": "2",
            "environment": "4",
        },
    }
    assert imported.header == read_header(tmp_path / "out.jsonl.zst")
    assert (imported.header.events, imported.header.sessions, imported.header.items) == (4, 3, 3)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_days_are_taken_by_click_time_whichever_file_a_click_stands_in(tmp_path: Path) -> None:
    source = as_folder(tmp_path, HOURS)
    run(source, tmp_path, Hours.of_days("0:1"))
    assert clicks(tmp_path / "out.jsonl.zst") == [("200", "7"), ("100", "7")]
    run(source, tmp_path, Hours.of_days("1"))
    assert clicks(tmp_path / "out.jsonl.zst") == [("300", "9"), ("100", "8")]


@pytest.mark.parametrize(
    ("days", "hours"), [("0:1", Hours(0, 24)), ("1:", Hours(24, None)), ("2", Hours(48, 72)), (":2", Hours(0, 48))]
)
def test_days_are_half_open_ranges(days: str, hours: Hours) -> None:
    assert Hours.of_days(days) == hours


@pytest.mark.parametrize("days", ["x", "1:y", "2:1", "1:1"])
def test_days_that_make_no_sense_are_refused(days: str) -> None:
    with pytest.raises(ImportFormatError, match="expected"):
        Hours.of_days(days)


BROKEN = hour_file(
    row(1, 100, 7, START), "1,100,x", row(1, 100, 8, START + 1).replace(",8,", ",eight,"), "1,2,3,4,5,6,7,8,9,10,11,12"
)


def test_broken_lines_are_skipped_counted_and_named(tmp_path: Path) -> None:
    imported = run(as_folder(tmp_path, {"clicks_hour_000.csv": BROKEN}), tmp_path)
    assert (imported.header.events, imported.broken) == (1, 3)
    shown = [str(problem).rpartition("/")[2] for problem in imported.problems]
    assert shown == [
        "clicks_hour_000.csv:3: column session_start: expected a whole number, got 'x'",
        "clicks_hour_000.csv:4: column click_article_id: expected a whole number, got 'eight'",
        "clicks_hour_000.csv:5: column click_timestamp: expected epoch milliseconds (13 digits), got '6'",
    ]


def test_strict_stops_at_the_first_broken_line_and_leaves_nothing(tmp_path: Path) -> None:
    source = as_folder(tmp_path, {"clicks_hour_000.csv": BROKEN})
    with pytest.raises(ImportFormatError, match=r"clicks_hour_000\.csv:3: column session_start"):
        run(source, tmp_path, strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_short_row_names_the_column_that_is_missing(tmp_path: Path) -> None:
    imported = run(as_folder(tmp_path, {"clicks_hour_000.csv": hour_file("1,2,3")}), tmp_path)
    assert str(imported.problems[0]).endswith(":2: column session_size: expected 12 columns, got 3")


def test_another_layout_is_refused_by_its_first_line(tmp_path: Path) -> None:
    source = as_folder(tmp_path, {"clicks_hour_000.csv": "user_id,session,x\n1,2,3\n"})
    with pytest.raises(
        ImportFormatError, match=r"clicks_hour_000\.csv:1: column 2: expected 'session_id', got 'session'"
    ):
        run(source, tmp_path)


def test_a_source_that_is_not_there_or_empty_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImportFormatError, match="no such file"):
        run(tmp_path / "nowhere", tmp_path)
    with pytest.raises(ImportFormatError, match="found none"):
        run(tmp_path, tmp_path)
    (tmp_path / "clicks.zip").write_text("not a zip")
    with pytest.raises(ImportFormatError, match=r"clicks\.zip or its extracted folder"):
        run(tmp_path / "clicks.zip", tmp_path)


def test_progress_tells_files_and_then_events(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    import_log(
        Globo(),
        as_folder(tmp_path, HOURS),
        tmp_path / "out.jsonl.zst",
        progress=lambda phase, done, whole: told.append((phase, done, whole)),
    )
    assert told == [("read", 0, 2), ("read", 1, 2), ("read", 2, 2), ("write", 4, 4)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.integers(min_value=0, max_value=50)), st.integers(min_value=1, max_value=9))
def test_sorting_in_runs_is_the_stable_sort_of_all(tmp_path: Path, times: list[int], run_events: int) -> None:
    events = [(ts_ms, f"{ts_ms} {n}".encode()) for n, ts_ms in enumerate(times)]
    ordered = sort_by_time(iter(events), tmp_path, run_events=run_events)
    assert list(ordered) == [line for _, line in sorted(events, key=lambda event: event[0])]
    assert list(tmp_path.iterdir()) == []


def test_sorting_holds_one_run_in_memory(tmp_path: Path) -> None:
    events = ((ts_ms, b"x" * 500) for ts_ms in range(40_000, 0, -1))
    tracemalloc.start()
    count = sum(1 for _ in sort_by_time(events, tmp_path, run_events=2_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 40_000
    assert peak < 14_000_000  # all of them are 21 MB of text alone
