"""`nextclick quality` judges a recording, and a running gateway; training leaves out who is no human."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from contracts.items import Item
from contracts.settings import ServiceSettings
from eventlog.files import read_events, read_header, write_events, write_items
from learning.people import people_in
from nextclick.cli import build_app
from nextclick.stack.settings import StackSettings, with_given
from nextclick.stack.stack import Stack

FIRST_MS = 20_000 * 86_400_000


def clicks(*, fast: int = 0, unknown: bool = False) -> list[dict[str, Any]]:
    """Clicks of two hours, a session each four; and of a session that sends some in one minute."""
    draw = random.Random(1)
    found = [
        {
            "v": 1,
            "event_id": f"e{n}",
            "type": "view",
            "session_id": f"s{n // 4}",
            "item_id": f"i{draw.randrange(40)}" if n % 5 or not unknown else "gone",
            "ts": FIRST_MS + n * 5_000,
        }
        for n in range(1440)
    ]
    found += [
        {"v": 1, "event_id": f"f{n}", "type": "view", "session_id": "fast", "item_id": "i1", "ts": FIRST_MS + n * 100}
        for n in range(fast)
    ]
    return sorted(found, key=lambda one: (one["ts"], one["event_id"]))


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.jsonl"
    write_items(path, [(f"i{n}", Item(title=f"Shoe {n}", price=10 + n % 7, category="shoes")) for n in range(40)])
    return path


def run(*words: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setenv("COLUMNS", "200")
    found = CliRunner().invoke(build_app("quality"), ["quality", *words])
    return found.exit_code, found.output


def test_a_clean_recording_is_told_to_be_so(tmp_path: Path, items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clean.jsonl.zst"
    write_events(path, clicks())
    status, said = run(str(path), "--items", str(items), monkeypatch=monkeypatch)
    assert status == 0
    assert "9 ok, 5 not enough data" in said
    assert "unknown" in said
    assert "silent view" not in said
    status, said = run(str(path), "--all", monkeypatch=monkeypatch)
    assert "silent view" in said


def test_a_fault_ends_with_status_1_says_when_and_what_to_do(
    tmp_path: Path, items: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "faulty.jsonl.zst"
    write_events(path, clicks(unknown=True))
    status, said = run(str(path), "--items", str(items), monkeypatch=monkeypatch)
    assert status == 1
    assert "1 bad, 8 ok" in said
    assert "2024-10-04 00:" in said
    assert "Load the items that are clicked" in said


def test_broken_lines_of_a_recording_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "broken.jsonl"
    lines = [orjson.dumps(one) for one in clicks()]
    path.write_bytes(b"\n".join(b"{" if n % 10 == 0 else line for n, line in enumerate(lines)))
    status, said = run(str(path), monkeypatch=monkeypatch)
    assert status == 1
    assert "10.00%" in said


def test_training_learns_from_people_alone(tmp_path: Path) -> None:
    path, said = tmp_path / "log.jsonl.zst", list[str]()
    write_events(path, clicks(fast=200), anonymised=True)
    with people_in([path], ServiceSettings(), said.append) as [learnt]:
        assert learnt.name == path.name
        assert read_header(learnt).events == 1440
        assert read_header(learnt).anonymised
        assert "fast" not in {event.session_id for event in read_events(learnt)}
    assert not learnt.exists()
    assert said[0].startswith("left out of training: 200 events of 1 sessions that no human has")


def test_where_all_are_people_training_reads_the_recording_itself(tmp_path: Path) -> None:
    path, said = tmp_path / "log.jsonl.zst", list[str]()
    write_events(path, clicks(fast=60))
    with people_in([path], ServiceSettings(), said.append) as learnt:
        assert learnt == [path]
    assert said == []


def test_exposure_is_told_by_group(tmp_path: Path, items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, page = tmp_path / "pages.jsonl.zst", {"v": 1, "type": "impression", "session_id": "s"}
    pages = [{**page, "event_id": f"p{n}", "items": ["i1", "i2"], "ts": FIRST_MS + n} for n in range(4)]
    write_events(path, [*pages, {**clicks()[0], "session_id": "s", "item_id": "i1", "ts": FIRST_MS + 9}])
    status, said = run(str(path), "--items", str(items), "--bias", monkeypatch=monkeypatch)
    assert status == 0
    assert "12.50%" in said
    write_events(tmp_path / "none.jsonl.zst", clicks()[:5])
    assert "nothing was shown" in run(str(tmp_path / "none.jsonl.zst"), "--bias", monkeypatch=monkeypatch)[1]


def test_with_the_option_every_process_of_the_stack_knows_that_the_data_is_watched(tmp_path: Path) -> None:
    """Gateways show the checks on `/metrics`, and the trends flow leaves bots out."""
    stack = Stack(with_given(StackSettings(), {"stack.folder": tmp_path, "quality.run": True}))
    assert {child.env["NEXTCLICK_QUALITY__RUN"] for child in stack._children()} == {"true"}


def test_a_file_that_holds_no_events_is_refused_with_what_is_wanted(tmp_path: Path) -> None:
    write_items(tmp_path / "items.jsonl.zst", [("a", Item(title="A"))])
    done = CliRunner().invoke(build_app("quality"), ["quality", str(tmp_path / "items.jsonl.zst")])
    assert done.exit_code == 1
    assert "expected a recording with events in it, got none" in (done.output + str(done.exception))
