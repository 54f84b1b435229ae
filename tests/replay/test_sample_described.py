"""What a recording is like: literal figures of small recordings, and of every layout that is read."""

from __future__ import annotations

from math import isnan
from pathlib import Path

import orjson
import pytest

from contracts.errors import ImportFormatError
from eventlog.files import write_events
from nextclick.show.sample_table import sample_table
from replay.sample.days import Wanted, sample_of
from replay.sample.described import bots_of, figures, read_clicks
from replay.sample.sinks import Places, write_sample


def test_a_file_of_one_session_a_line(tmp_path: Path) -> None:
    (tmp_path / "sessions.txt").write_text("1 2 1\n3\n1 1\n")
    found = figures(read_clicks(tmp_path / "sessions.txt"))
    assert found["views"] == 6
    assert found["sessions"] == 3
    assert found["items viewed"] == 3
    assert found["views a session, mean"] == 2.0
    assert found["sessions of one view"] == pytest.approx(1 / 3)
    assert found["views of an item seen before in the session"] == pytest.approx(2 / 6)
    assert found["share of the views: top 1% of items"] == pytest.approx(4 / 6)
    assert found["Gini of items"] == pytest.approx(1 / 3)
    assert isnan(found["seconds between views, median"])
    assert isnan(found["users"])


def test_a_table_with_times_in_seconds(tmp_path: Path) -> None:
    (tmp_path / "clicks.txt").write_text("SessionId\tItemId\tTime\n1\ta\t100.0\n2\ta\t101.0\n1\tb\t130.5\n")
    found = figures(read_clicks(tmp_path / "clicks.txt"))
    assert (found["views"], found["sessions"]) == (3, 2)
    assert found["seconds between views, median"] == 30.5


def test_an_event_log_says_users_and_what_was_bought(tmp_path: Path) -> None:
    def event(number: int, session: str, user: str | None, kind: str = "view") -> dict[str, object]:
        about = {"v": 1, "event_id": f"e{number}", "type": kind, "session_id": session, "item_id": "a", "ts": number}
        return {**about, **({"user_id": user} if user else {})}

    events = [event(1, "s1", "u1"), event(2, "s2", "u1"), event(3, "s3", "u2"), event(4, "s4", None)]
    write_events(tmp_path / "day.jsonl", [*events, event(5, "s4", None, "purchase")])
    found = figures(read_clicks(tmp_path / "day.jsonl"))
    assert (found["users"], found["sessions a user, mean"]) == (2, 1.5)
    assert found["users with more than one session"] == 0.5
    assert found["views by a known user"] == 0.75
    assert found["purchase events for 100 views"] == 25.0
    assert isnan(found["cart events for 100 views"])
    assert figures(read_clicks(tmp_path / "day.jsonl", leave_out={"s4"}))["views"] == 3


def test_the_table_has_a_column_a_recording_and_nothing_where_nothing_is_known() -> None:
    lines = list(sample_table({"a/x.txt": {"views": 1200.0, "sessions of one view": 0.25}, "b/y.txt": {"views": 3.0}}))
    assert lines == [
        "| | a/x.txt | b/y.txt |",
        "|---|---:|---:|",
        "| views | 1,200 | 3 |",
        "| sessions of one view | 25.0% |  |",
    ]


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "clicks.txt").write_text("SessionId\tItemId\tTime\n1\ta\n")
    with pytest.raises(ImportFormatError, match=r"clicks\.txt:2: expected session, item and seconds"):
        read_clicks(tmp_path / "clicks.txt")
    (tmp_path / "zip.zip").write_bytes(b"PK\xff\xfe\x00")
    with pytest.raises(ImportFormatError, match="expected an event log, a table of clicks or sessions"):
        read_clicks(tmp_path / "zip.zip")
    (tmp_path / "truth.json").write_text("{}")
    with pytest.raises(ImportFormatError, match=r"expected the truth\.json"):
        bots_of(tmp_path / "truth.json")


def test_the_sample_is_like_recordings_of_shops(tmp_path: Path) -> None:
    """Bounds that Diginetica and YooChoose are within (docs/sample.md), widened by what a small sample varies."""
    wanted = Wanted(users=500, items=3000, events=20_000, days=30, seed=1)
    write_sample(sample_of(wanted), Places(tmp_path, ("log",)))
    bots = bots_of(tmp_path / "truth.json")
    assert len(bots) == len(orjson.loads((tmp_path / "truth.json").read_bytes())["bots"]) > 0
    found = figures(read_clicks(tmp_path / "events.jsonl.zst", bots))
    assert 3.5 < found["views a session, mean"] < 5.0
    assert 15 < found["views a session, 99%"] < 40
    assert 0.15 < found["views of an item seen before in the session"] < 0.32
    assert 0.35 < found["share of the views: top 10%"] < 0.8
    assert 0.45 < found["Gini of items"] < 0.85
    assert 30 < found["seconds between views, median"] < 60
    assert found["users with more than one session"] > 0.5
