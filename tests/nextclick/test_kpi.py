"""`nextclick kpi` shows what was counted, and counts it again."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from contracts.keys import Keys
from contracts.settings import RedisSettings
from eventlog.contract import Batch, Message, Record, Topic
from eventlog.files import write_events
from eventlog.open_log import open_writer
from flows.attribution_steps import AttributionPath, decode_facts
from nextclick.cli import build_app
from nextclick.stack.settings import StackSettings, with_given
from nextclick.stack.stack import Stack
from state.client import connect
from tests.flows.test_attribution_flow import LOG, NOW, OPTIONS, open_store, traffic


@pytest.fixture
def counted(redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Topic, Record]]:
    """A log of 60 pages, counted."""
    monkeypatch.setenv("NEXTCLICK_REDIS__URL", redis_settings.url)
    monkeypatch.setenv("NEXTCLICK_REDIS__PREFIX", redis_settings.prefix)
    monkeypatch.setenv("NEXTCLICK_LOG__PARTITIONS", "1")
    monkeypatch.setenv("COLUMNS", "200")
    records = list(traffic(9, 60))
    log = LOG.model_copy(update={"partitions": 1})
    writer, store = open_writer(log, redis_settings), open_store(redis_settings)
    path = AttributionPath(store=store, writer=lambda: writer, options=OPTIONS)
    for topic in (Topic.CLICKS, Topic.IMPRESSIONS):
        own = [record for one, record in records if one is topic]
        writer.append(topic, own)
        messages = [Message(at, record.value) for at, record in enumerate(own)]
        batch = Batch(topic, 0, 0, len(own), messages)
        path.apply(decode_facts(batch, now_ms=NOW + 60_000, max_future_ms=0))
    writer.close()
    store.close()
    return records


def run(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(build_app("kpi"), ["kpi", *words])
    return found.exit_code, found.output


def test_figures_are_a_table_that_names_what_it_stands_on(counted: list[tuple[Topic, Record]]) -> None:
    status, said = run("show", "--by", "recommended,scenario", "--metric", "pages,ctr,revenue")
    assert status == 0
    assert "revenue:EUR" in said
    assert (
        f"impressions 60, clicks {len(counted) - 60}" in said or f"clicks {len(counted) - 60}, impressions 60" in said
    )


def test_a_line_is_drawn_over_the_hours(counted: list[tuple[Topic, Record]]) -> None:
    status, said = run("show", "--by", "recommended", "--metric", "pages", "--over", "day", "--line", "pages")
    assert (status, "pages by day" in said, "▅" in said) == (0, True, True)
    assert "pages by" not in run("show", "--by", "recommended", "--metric", "pages", "--over", "none")[1]


def test_what_the_log_says_is_what_was_counted(
    counted: list[tuple[Topic, Record]], redis_settings: RedisSettings
) -> None:
    status, said = run("verify")
    assert (status, "0 differ" in said) == (0, True)
    client, keys = connect(redis_settings), Keys(redis_settings.prefix)
    hour = NOW // 3_600_000
    cell = next(one for one in client.hkeys(keys.attribution_cells(hour)) if b'"pages"' in one)
    client.hincrby(keys.attribution_cells(hour), cell, 10_000)
    client.close()
    status, said = run("verify")
    assert (status, "1 differ" in said) == (1, True)
    assert "pages: expected" in said


def test_what_a_recording_says_is_what_was_counted(counted: list[tuple[Topic, Record]], tmp_path: Path) -> None:
    events = [event for _, record in counted if (event := orjson.loads(record.value))["ts"] >= NOW]  # none is late
    events.sort(key=lambda event: event["ts"])
    file = tmp_path / "day.jsonl.zst"
    write_events(file, events)
    status, said = run("verify", "--recording", str(file))
    assert (status, "0 differ" in said) == (0, True)


def test_a_dimension_that_there_is_not_is_said(counted: list[tuple[Topic, Record]]) -> None:
    found = CliRunner().invoke(build_app("kpi"), ["kpi", "show", "--by", "colour"])
    assert "expected a dimension" in str(found.exception)


def test_the_stack_runs_the_flow_where_a_setting_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def names() -> list[str]:
        stack = Stack(with_given(StackSettings(), {"stack.folder": tmp_path}))
        return [child.name for child in stack._children()]

    assert names() == ["items", "sessions", "trends", "profiles", "gateway-0"]
    monkeypatch.setenv("NEXTCLICK_ATTRIBUTION__RUN", "true")
    assert names() == ["items", "sessions", "trends", "profiles", "attribution", "gateway-0"]


def test_a_click_rate_that_fell_is_a_sentence_and_an_exit_status(
    redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTCLICK_REDIS__URL", redis_settings.url)
    monkeypatch.setenv("NEXTCLICK_REDIS__PREFIX", redis_settings.prefix)
    client, keys, last = connect(redis_settings), Keys(redis_settings.prefix), 490_000
    for hour, clicks in ((last, 350), (last - 1, 490), *((last - 24 * day, 500) for day in range(1, 9))):
        for counter, count in (("shown", 10_000), ("clicks", clicks)):
            field = orjson.dumps(["yes", "home", *[""] * 8, counter])
            client.hset(keys.attribution_cells(hour), field, count * 10_000)
        client.zadd(keys.attribution_hours(), {str(hour): hour})
    client.close()
    status, said = run("alert", "--hour", str(last * 3_600_000), "--scenario", "home")
    assert (status, "home: 3.50% of 10,000 shown were clicked, 5.00%" in said) == (1, True)
    status, said = run("alert", "--hour", str((last - 1) * 3_600_000))
    assert (status, "nothing to compare" in said) == (0, True)
