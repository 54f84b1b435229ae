"""The commands around playing, as people type them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from contracts.errors import ImportFormatError, SettingsError
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.files import read_events, read_header, write_events
from eventlog.open_log import open_writer
from nextclick.cli import groups
from tests.replay.test_live import click

TYPED = CliRunner()
APP = groups()["replay"]


def test_record_writes_what_the_log_holds(
    tmp_path: Path, redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTCLICK_REDIS__URL", redis_settings.url)
    monkeypatch.setenv("NEXTCLICK_REDIS__PREFIX", redis_settings.prefix)
    writer = open_writer(LogSettings(), redis_settings)
    clicks = [click(n, f"s{n % 20}", "i1") for n in range(60)]
    writer.append(Topic.CLICKS, [Record(one["session_id"], orjson.dumps(one)) for one in clicks])
    writer.close()
    out = tmp_path / "log.jsonl.zst"
    outcome = TYPED.invoke(APP, ["record", "-o", str(out)])
    assert outcome.exit_code == 0, outcome.output
    assert [event.event_id for event in read_events(out)] == [f"e{n}" for n in range(60)]
    outcome = TYPED.invoke(APP, ["record", "-o", str(out), "--sample", "0.3", "--anonymise", "--keep-items"])
    assert outcome.exit_code == 0, outcome.output
    header = read_header(out)
    assert header.anonymised
    assert 0 < header.sessions < 20
    assert header.events == 3 * header.sessions
    assert {event.item_id for event in read_events(out)} == {"i1"}


def test_record_refuses_a_start_that_there_is_not(tmp_path: Path) -> None:
    assert isinstance(TYPED.invoke(APP, ["record", "-o", "x", "--from", "yesterday"]).exception, SettingsError)
    assert isinstance(TYPED.invoke(APP, ["record", "-o", "x", "--from", "now"]).exception, SettingsError)


def test_anonymise_is_the_same_under_the_same_key_and_another_under_a_new_one(tmp_path: Path) -> None:
    source = tmp_path / "day.jsonl.zst"
    write_events(source, [click(n, f"s{n % 2}", "i1") for n in range(4)])
    outs = [tmp_path / f"{n}.jsonl.zst" for n in range(3)]
    for out, key in zip(outs, (["--key", "k" * 16], ["--key", "k" * 16], []), strict=True):
        outcome = TYPED.invoke(APP, ["anonymise", str(source), str(out), *key])
        assert outcome.exit_code == 0, outcome.output
    first, again, other = ([event.session_id for event in read_events(out)] for out in outs)
    assert first == again
    assert not set(first) & set(other)
    assert (first[0], first[1]) == (first[2], first[3])


def test_report_turns_a_result_into_a_page(tmp_path: Path) -> None:
    times = {"count": 1, "mean": 1.0, "p50": 1.0, "p90": 1.0, "p95": 1.0, "p99": 1.0, "p999": 1.0, "max": 1.0}
    (tmp_path / "r.json").write_bytes(orjson.dumps({"run": "r9", "accepted": 1, "latency": times}))
    outcome = TYPED.invoke(APP, ["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "r.html")])
    assert outcome.exit_code == 0, outcome.output
    assert "Replay r9" in (tmp_path / "r.html").read_text()
    (tmp_path / "r.json").write_text("{}")
    outcome = TYPED.invoke(APP, ["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "r.html")])
    assert isinstance(outcome.exception, ImportFormatError)
