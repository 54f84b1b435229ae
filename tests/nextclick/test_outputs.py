"""Every command that writes leaves what is not its own output as it is, and says so in one line; over its own earlier
output it may be run again.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from contracts.errors import ImportFormatError, NextclickError, OutputRefused
from eventlog.files import read_header, write_events
from nextclick.cli import build_app
from tests.nextclick.test_cli import nextclick
from tests.nextclick.trees import tree_of
from tests.replay.test_live import click

TIMES = {"count": 1, "mean": 1.0, "p50": 1.0, "p90": 1.0, "p95": 1.0, "p99": 1.0, "p999": 1.0, "max": 1.0}
RESULT = {"run": "r9", "accepted": 1, "latency": TIMES, "recording": "day (9 events)"}
CSV = ("import", "csv", "clicks.csv", "--map", "session_id=s,item_id=i,ts=t:seconds")
PLAY = ("replay", "play", "day.jsonl.zst", "--recommend", "all", "--url", "http://127.0.0.1:1")
NEXT_ITEM = ("evaluate", "next-item", "--train", "day.jsonl.zst")
STREAM = ("evaluate", "stream", "day.jsonl.zst", "--from-hour", "1")
SCENARIO = ("replay", "scenario", "calm.toml", "day.jsonl.zst", "--rate", "9")
WRITING = [
    (*CSV, "-o", "OUT"),
    ("import", "retailrocket", "shop", "-o", "new.jsonl.zst", "--items", "OUT"),
    ("import", "otto", "otto.jsonl", "-o", "OUT"),
    ("items", "images", "items.jsonl", "-o", "OUT", "--weights", "weights.pth"),
    ("replay", "record", "-o", "OUT"),
    ("sample", "plant", "day.jsonl.zst", "--fault", "silent-cart", "-o", "OUT"),
    ("sample", "plant", "items.jsonl", "--fault", "no-price", "-o", "OUT"),
    ("replay", "anonymise", "day.jsonl.zst", "OUT"),
    ("replay", "report", "a.json", "-o", "OUT"),
    (*PLAY, "--out", "OUT"),
    (*PLAY, "--answers", "OUT"),
    (*PLAY, "--timings", "OUT"),
    ("replay", "limit", "day.jsonl.zst", "--slo", "p99<1s", "--url", "http://127.0.0.1:1", "-o", "OUT"),
    ("replay", "export", "day.jsonl.zst", "-o", "OUT"),
    ("replay", "export", "day.jsonl.zst", "-o", "OUT", "--to", "k6"),
    ("replay", "export", "day.jsonl.zst", "-o", "out.js", "--to", "k6"),  # out.jsonl beside it is OUT
    ("replay", "diff", "a.json", "b.json", "-o", "OUT"),
    ("replay", "diff", "a.json", "b.json", "--per-question", "OUT"),
    ("buyers", "--url", "http://127.0.0.1:1", "-o", "OUT"),
    ("replay", "freshness", "--url", "http://127.0.0.1:1", "-o", "OUT"),
    (*SCENARIO, "-o", "OUT"),
    (*SCENARIO, "--report", "OUT"),
    (*NEXT_ITEM, "--out", "OUT"),
    (*STREAM, "--out", "OUT"),
    (*STREAM, "--picture", "OUT"),
    ("evaluate", "impressions", "day.jsonl.zst", "--out", "OUT"),
    ("evaluate", "scenarios", "homepage", "--events", "day.jsonl.zst", "--out", "OUT"),
    ("scenario", "diff", "homepage", "product", "day.jsonl.zst", "--out", "OUT"),
    ("scenario", "assert", "a.json", "day.jsonl.zst", "--out", "OUT"),
    ("tune", "day.jsonl.zst", "--out", "OUT"),
    ("tune", "day.jsonl.zst", "--out", "new.toml", "--study", "OUT"),
    ("index", "inspect", "--folder", "index", "--picture", "OUT"),
]
FILLED = [
    ("train", "session-model", "day.jsonl.zst", "--out", "out", "session_model"),
    ("train", "models", "day.jsonl.zst", "--out", "out", "session_model"),
    ("train", "models", "day.jsonl.zst", "--out", "out", "reranker"),
    ("train", "shop", "--out", "out", "session_model"),
    ("train", "shop", "--out", "out", "reranker"),
    ("train", "reranker", "day.jsonl.zst", "--artifacts", "out", "reranker"),
    (*NEXT_ITEM, "--artifacts", "out", "album"),
    (*NEXT_ITEM, "--work", "out", "album"),
    (*STREAM, "--artifacts", "out", "album"),
]


@pytest.fixture(autouse=True)
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of inputs that every command reads from, and is typed in."""
    monkeypatch.chdir(tmp_path)
    write_events(tmp_path / "day.jsonl.zst", [click(n, f"s{n % 4}", f"i{n % 5}") for n in range(20)])
    (tmp_path / "clicks.csv").write_text("s,i,t\na,x,1593536656\na,y,1593536657\n")
    (tmp_path / "items.jsonl").write_text('{"item_id": "x", "title": "X"}\n')
    (tmp_path / "calm.toml").write_text('name = "calm"\n')
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_bytes(orjson.dumps(RESULT))


def typed(*words: str) -> NextclickError | None:
    """Return what the command complained of."""
    outcome = CliRunner().invoke(build_app(), list(words))
    assert outcome.exception is None or isinstance(outcome.exception, NextclickError), repr(outcome.exception)
    assert outcome.exit_code == (1 if outcome.exception else 0), outcome.output
    return outcome.exception


def a_document(path: Path) -> None:
    path.write_bytes(b"%PDF-1.4 the only copy")


def a_long_table(path: Path) -> None:
    path.write_text("name,price\n" + "boot,9.5\n" * 50_000)


def other_json(path: Path) -> None:
    path.write_text('{"format": "somebody else", "rows": [1], "name": "x"}\n')


def a_folder(path: Path) -> None:
    (path / "photos").mkdir(parents=True)
    (path / "photos" / "beach.jpg").write_bytes(b"\xff\xd8")


def a_link(path: Path) -> None:
    (path.parent / "kept.txt").write_text("the only copy")
    path.symlink_to("kept.txt")


@pytest.mark.parametrize("put", [a_document, a_long_table, other_json, a_folder, a_link])
@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_what_is_no_output_of_the_command_stays(
    words: tuple[str, ...], put: Callable[[Path], None], tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    out = tmp_path / "out.jsonl"
    put(out)
    before = tree_of(tmp_path)
    refused = typed(*(str(out) if word == "OUT" else word for word in words))
    assert isinstance(refused, OutputRefused)
    assert str(refused).startswith(
        f"{out.relative_to(tmp_path) if 'k6' in words and 'out.js' in words else out}: expected"
    )
    assert "found " in str(refused)
    assert str(refused).endswith("it was left as it is; name another output, or move that away")
    assert "\n" not in str(refused)
    assert tree_of(tmp_path) == before


@pytest.mark.parametrize("words", FILLED, ids=" ".join)
def test_a_folder_that_holds_anything_else_takes_no_models(words: tuple[str, ...], tmp_path: Path) -> None:
    a_folder(tmp_path / "out" / words[-1])
    (tmp_path / "out" / words[-1] / "manifest.json").write_text('{"kind": "album", "arrays": {}, "format": "photos"}')
    before = tree_of(tmp_path)
    refused = typed(*words[:-1])
    assert isinstance(refused, OutputRefused)
    assert "found a folder with " in str(refused)
    assert "\n" not in str(refused)
    assert tree_of(tmp_path) == before


@pytest.mark.parametrize(
    "words",
    [
        ("import", "csv", "day.jsonl.zst", "--map", "session_id=s,item_id=i,ts=t", "-o", "day.jsonl.zst"),
        (*CSV, "-o", "new.jsonl.zst", "--anonymise", "--strict", "-o", "clicks.csv"),
        ("import", "retailrocket", "shop", "-o", "new.jsonl", "--items", "new.jsonl"),
        ("items", "images", "items.jsonl", "-o", "./items.jsonl", "--weights", "weights.pth"),
        ("replay", "anonymise", "day.jsonl.zst", "day.jsonl.zst"),
        ("replay", "anonymise", "linked.jsonl.zst", "day.jsonl.zst"),
        ("replay", "report", "a.json", "-o", "a.json"),
        ("replay", "diff", "a.json", "b.json", "-o", "b.json"),
        ("replay", "export", "targets.jsonl", "-o", "targets.js", "--to", "k6"),
        ("replay", "export", "day.jsonl.zst", "-o", "new.jsonl", "--to", "k6"),
        (*PLAY, "--out", "new.json", "--answers", "new.json"),
        (*STREAM, "--out", "new.html", "--picture", "new.html"),
        (*NEXT_ITEM, "--out", "day.jsonl.zst"),
        ("tune", "day.jsonl.zst", "--out", "calm.toml", "--settings", "calm.toml"),
        ("tune", "day.jsonl.zst", "--out", "new.db"),
    ],
    ids=" ".join,
)
def test_an_output_that_is_an_input_or_another_output_is_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    write_events(tmp_path / "targets.jsonl", [click(1, "a", "x")])
    (tmp_path / "linked.jsonl.zst").symlink_to("day.jsonl.zst")
    before = tree_of(tmp_path)
    refused = typed(*words)
    assert isinstance(refused, OutputRefused)
    assert "expected an output of its own, got " in str(refused)
    assert tree_of(tmp_path) == before


@pytest.mark.parametrize(
    "words",
    [
        (*CSV, "-o", "out.jsonl.zst"),
        (*CSV, "-o", "out.jsonl"),
        ("replay", "anonymise", "day.jsonl.zst", "out.jsonl.zst", "--key", "k" * 16),
        ("replay", "report", "a.json", "-o", "out.html"),
        ("replay", "export", "day.jsonl.zst", "-o", "out.jsonl", "--run", "r"),
        ("replay", "export", "day.jsonl.zst", "-o", "out.js", "--to", "k6", "--run", "r"),
        ("replay", "diff", "a.json", "b.json", "-o", "out.json"),
    ],
    ids=" ".join,
)
def test_the_same_command_may_write_over_its_own_output(words: tuple[str, ...], tmp_path: Path) -> None:
    assert typed(*words) is None
    [out, *_] = [path for path in tmp_path.iterdir() if path.stem.startswith("out")]
    inode = out.stat().st_ino
    assert typed(*words) is None
    assert out.stat().st_ino != inode
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_import_that_takes_nothing_leaves_the_log_that_was_there(tmp_path: Path) -> None:
    assert typed(*CSV, "-o", "day.jsonl.zst") is None
    assert isinstance(typed(*CSV, "-o", "day.jsonl.zst", "--days", "40:41"), ImportFormatError)
    assert read_header(tmp_path / "day.jsonl.zst").events == 2


def test_a_file_with_the_name_that_a_half_written_log_once_had_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("the only copy")
    for name in (".new.jsonl.zst.part", ".new.jsonl.zst.body", ".new.html.part"):
        (tmp_path / name).symlink_to("kept")
    before = tree_of(tmp_path)
    assert typed(*CSV, "-o", "new.jsonl.zst") is None
    assert typed("replay", "report", "a.json", "-o", "new.html") is None
    left = tree_of(tmp_path)
    assert {name: left[name] for name in before} == before


def test_a_process_says_it_in_one_line_and_exits_1(tmp_path: Path) -> None:
    a_document(tmp_path / "report.html")
    shown = nextclick("replay", "report", "a.json", "-o", "report.html", cwd=tmp_path)
    assert shown.returncode == 1
    assert shown.stderr == (
        "error report.html: expected nothing there, or a report of a replay to replace, found another file (22 bytes, "
        "beginning b'%PDF-1.4 the only copy'): it was left as it is; name another output, or move that away\n"
    )
    assert (tmp_path / "report.html").read_bytes() == b"%PDF-1.4 the only copy"


@pytest.mark.parametrize(
    "words", [("nextclick", "bench", "freshness"), ("nextclick", "bench", "index"), ("python", "-m", "pipeline")]
)
def test_a_bench_looks_before_it_measures(words: tuple[str, ...], tmp_path: Path) -> None:
    figures = tmp_path / "build" / "bench" / f"{words[-1]}.json"
    figures.parent.mkdir(parents=True)
    figures.write_text('{"name": "my own figures"}')
    code = "from nextclick.cli import main; main()"
    if words[0] == "python":
        code = "from nextclick.bench.pipeline import main; main()"
    root = str(Path(__file__).parents[2])
    shown = subprocess.run(
        [sys.executable, "-c", code, *words[1:]],
        cwd=tmp_path,
        env={"PYTHONPATH": root, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert shown.returncode == 1
    assert f"build/bench/{words[-1]}.json: expected nothing there, or figures of a benchmark" in shown.stderr
    assert figures.read_text() == '{"name": "my own figures"}'
