"""A ledger without a visitor: its hours, its checksums, and what waits in its shelf; whoever is killed meanwhile."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from pyarrow import dataset

from contracts.settings import ServiceSettings
from eventlog.files import write_events
from replay.ledger import erase
from replay.ledger.erase import Asked
from replay.ledger.export import RECORDED, Ledger, Wanted, take_recordings
from replay.ledger.hours import Manifest
from tests.nextclick.test_kpi_export import HOUR, did, page

ASKED = Asked("user-anna", ["sess-a"])


class Killed(BaseException):
    """The process dies."""


def ledger(folder: Path) -> Path:
    """Two hours of pages: of anna before and after her log-in, of ben in a session of his own, and in hers."""
    events = [
        page("p1", 0, ["i1", "i2"], session="sess-a"),
        page("p2", 10, ["i1"], session="sess-a", user_id="user-anna"),
        did("e1", "view", 20, "i1", session="sess-a", user_id="user-anna"),
        page("p3", 30, ["i3"], session="sess-b", user_id="user-ben"),
        page("p4", 40, ["i4"], session="sess-a", user_id="user-ben"),
        page("p5", HOUR + 5, ["i5"], session="sess-c", user_id="user-anna"),
        page("p6", HOUR + 6, ["i6"], session="sess-d"),
    ]
    write_events(folder / "day.jsonl.zst", events)
    made = Ledger(folder / "out", ServiceSettings(), Wanted(settle_ms=HOUR), lambda line: None, RECORDED)
    take_recordings(made, [folder / "day.jsonl.zst"])
    made.write(also_open=True)
    made.close()
    return folder / "out"


def pages_in(out: Path) -> list[tuple[str, str]]:
    rows = dataset.dataset(out, partitioning="hive").to_table().to_pylist()
    return sorted((row["request_id"], row["item"]) for row in rows)


LEFT = [("p3", "i3"), ("p4", "i4"), ("p6", "i6")]


def checked(out: Path) -> None:
    """The manifest says what is there."""
    found = msgspec.json.decode((out / "_manifest.json").read_bytes(), type=Manifest)
    rows = 0
    for name, hour in found.hours.items():
        raw = (out / f"hour={name}" / "part-0.parquet").read_bytes()
        assert hashlib.sha256(raw).hexdigest() == hour.sha256
        rows += hour.rows
    assert (rows, len(pages_in(out))) == (len(LEFT), len(LEFT))
    assert sum(hour.pages for hour in found.hours.values()) == 3


def test_rows_of_a_visitor_go_from_hours_and_shelf_and_the_manifest_says_so(tmp_path: Path) -> None:
    out = ledger(tmp_path)
    others = out / "hour=none"
    assert erase.erase(others, ASKED) == 0
    assert erase.erase(out, ASKED) > 4
    assert pages_in(out) == LEFT
    checked(out)
    assert not any(b"user-anna" in path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"user-ben" in (out / RECORDED).read_bytes()
    before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    assert erase.erase(out, ASKED) == 0
    assert {path: path.read_bytes() for path in out.rglob("*.parquet")} == before


@pytest.mark.parametrize("step", ["_as_it_is", "write_manifest"])
def test_whoever_is_killed_in_between_puts_the_manifest_right_the_next_time(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ledger(tmp_path)

    def dies(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(erase, step, dies)
        with pytest.raises(Killed):
            erase.erase(out, ASKED)
    erase.erase(out, ASKED)
    assert pages_in(out) == LEFT
    checked(out)
