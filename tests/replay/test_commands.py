"""The commands as people type them, against a real server in a thread of its own."""

from __future__ import annotations

import asyncio
import base64
import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from contracts.errors import ImportFormatError, SettingsError
from eventlog.files import read_header, write_events
from nextclick.cli import groups
from nextclick.stack.client import GatewayUnreachable
from tests.replay.target_server import Arrivals, target_server
from tests.replay.test_importers import HOURS, as_zip
from tests.replay.test_live import answer, click

TYPED = CliRunner()
REPLAY, IMPORT = groups()["replay"], groups()["import"]


@pytest.fixture
def served() -> Iterator[tuple[Arrivals, str]]:
    """A target on a loopback port; gives what arrives and the address."""
    arrivals = Arrivals(recommend=lambda asked: answer("i1", "i2"))
    started, address, stop = threading.Event(), list[str](), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with target_server(arrivals) as (_, url):
            address.append(url)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(60)
    yield arrivals, address[0]
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(60)


def recording(folder: Path, clicks: int = 20, sessions: int = 4) -> Path:
    """What is to be played in time has fewer than ten events: so many that are sent late make a run invalid."""
    path = folder / "day.jsonl.zst"
    write_events(path, [click(n, f"s{n % sessions}", f"i{n % 5}") for n in range(clicks)])
    return path


def test_import_writes_the_days_that_were_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "day1.jsonl.zst"
    outcome = TYPED.invoke(IMPORT, ["globo", str(as_zip(tmp_path, HOURS)), "-o", str(out), "--days", "0:1"])
    assert outcome.exit_code == 0, outcome.output
    assert read_header(out).events == 2
    assert "2 events, 2 sessions, 1 items; 0 broken lines skipped" in " ".join(outcome.output.split())


def test_import_refuses_days_and_hours_together(tmp_path: Path) -> None:
    outcome = TYPED.invoke(IMPORT, ["globo", "x", "-o", str(tmp_path / "x"), "--days", "0:1", "--to-hour", "5"])
    assert isinstance(outcome.exception, SettingsError)


def test_show_prints_the_header(tmp_path: Path) -> None:
    outcome = TYPED.invoke(REPLAY, ["show", str(recording(tmp_path))])
    assert outcome.exit_code == 0, outcome.output
    shown = " ".join(outcome.output.split())
    assert "events 20 sessions 4 items 5" in shown
    assert "first 2023-11-14 22:13:20 UTC (1700000000000)" in shown
    assert "anonymised no" in shown


def test_play_sends_every_event_and_writes_the_result(tmp_path: Path, served: tuple[Arrivals, str]) -> None:
    arrivals, url = served
    out, timings = tmp_path / "result.json", tmp_path / "times.npz"
    typed = ["play", str(recording(tmp_path, 9)), "--url", url, "--rate", "200", "--run", "r7", "--recommend", "all"]
    outcome = TYPED.invoke(REPLAY, [*typed, "-o", str(out), "--timings", str(timings)])
    assert outcome.exit_code == 0, outcome.output
    assert sorted(arrivals.ids()) == sorted(f"r7-e{n}" for n in range(9))
    result = orjson.loads(out.read_bytes())
    assert (result["accepted"], result["failed"], result["hit_rates"]["questions"]) == (9, {}, 5)
    assert timings.exists()
    assert "HR@20" in outcome.output


def test_play_exits_1_when_events_were_lost(tmp_path: Path) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as hangs_up:
        threading.Thread(target=hangs_up.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{hangs_up.server_address[1]}"
        typed = ["play", str(recording(tmp_path, 3)), "--url", url, "--rate", "1000", "--give-up", "0.2"]
        outcome = TYPED.invoke(REPLAY, typed)
        hangs_up.shutdown()
    assert outcome.exit_code == 1
    assert re.search(r"failed \(lost\) +3 \(", outcome.output)


@pytest.mark.parametrize("typed", [["play"], ["limit", "--slo", "p99<1s"]])
def test_play_without_a_gateway_is_refused_at_once(tmp_path: Path, typed: list[str]) -> None:
    outcome = TYPED.invoke(REPLAY, [*typed, str(recording(tmp_path, 3)), "--url", "http://127.0.0.1:1"])
    assert isinstance(outcome.exception, GatewayUnreachable)


@pytest.mark.parametrize("share", ["0", "1.5", "some"])
def test_play_refuses_a_share_that_is_none(tmp_path: Path, share: str) -> None:
    outcome = TYPED.invoke(REPLAY, ["play", str(recording(tmp_path)), "--recommend", share])
    assert isinstance(outcome.exception, SettingsError)


def test_play_of_something_else_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"hello": 1}\n')
    outcome = TYPED.invoke(REPLAY, ["play", str(tmp_path / "x.jsonl")])
    assert isinstance(outcome.exception, ImportFormatError)
    assert "expected a header line" in str(outcome.exception)


def test_play_shapes_clones_and_asks_on_the_page_that_an_event_opened(
    tmp_path: Path, served: tuple[Arrivals, str]
) -> None:
    arrivals, url = served
    out = tmp_path / "result.json"
    day = recording(tmp_path, clicks=3, sessions=1)
    typed = ["play", str(day), "--url", url, "--ramp", "50..200@1s", "--run", "r", "--clone", "3"]
    more = ["--recommend", "all", "--placement", "by-event", "--watch", "1", "-o", str(out)]
    outcome = TYPED.invoke(REPLAY, [*typed, *more, "--assert", "p99<1000s,errors<=0,hit_rate>0,fresh_p99<1000s"])
    assert outcome.exit_code == 0, outcome.output
    assert len(set(arrivals.ids())) == 9
    visitors = [ask for ask in arrivals.asks if ask["placement"] == "product"]
    assert len(visitors) == 9 - 3  # every page but that of a session's first click, which opens it
    assert all(ask["item_id"].startswith("i") for ask in visitors)
    result = orjson.loads(out.read_bytes())
    assert (result["copies"], result["scheduled"], result["seen"]["never"]) == (3, 9, 0)
    assert result["seen"]["visible"]["count"] == 9
    assert sum(result["series"]["count"]) == 9
    assert sum(result["histograms"]["events"]["counts"]) == 9


def test_play_exits_1_when_an_assertion_does_not_hold_and_says_which(
    tmp_path: Path, served: tuple[Arrivals, str]
) -> None:
    typed = ["play", str(recording(tmp_path)), "--url", served[1], "--rate", "200", "--assert", "p50<1us,errors<=0"]
    outcome = TYPED.invoke(REPLAY, typed)
    assert outcome.exit_code == 1
    assert "does not hold: p50<1us: " in outcome.output
    assert "errors<=0: " not in outcome.output


def test_play_into_another_recommender(tmp_path: Path, served: tuple[Arrivals, str]) -> None:
    arrivals, url = served
    template = tmp_path / "other.toml"
    template.write_text(
        '[events]\npath = "/api/events"\n[events.body]\nevent_id = "{event_id}"\nsession_id = "{session_id}"'
    )
    typed = ["play", str(recording(tmp_path, 9)), "--url", url, "--rate", "500", "--target", str(template)]
    typed += ["--run", "r"]
    outcome = TYPED.invoke(REPLAY, typed)
    assert outcome.exit_code == 0, outcome.output
    assert {len(batch) for batch in arrivals.batches} == {1}
    assert arrivals.by_session()["r-s1"] == ["r-e1", "r-e5"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--ramp", "1..2@3s", "--rate", "5"], "--ramp: expected it alone"),
        (["--speed", "2", "--rate", "5"], "expected --speed, or --rate, got both"),
        (["--speed", "2", "--ramp", "1..2@3s"], "expected --speed, or --ramp, got both"),
        (["--peak", "ten"], "expected a peak"),
        (["--recommend", "all", "--placement", "cellar"], "--placement: expected by-event"),
        (["--assert", "p99<5"], "expected a time"),
        (["--peak", "2x@1+9", "--peak", "2x@5+9"], "--peak: expected peaks one after the other"),
    ],
)
def test_play_refuses_what_it_cannot_do(tmp_path: Path, typed: list[str], said: str) -> None:
    outcome = TYPED.invoke(REPLAY, ["play", str(recording(tmp_path)), *typed])
    assert isinstance(outcome.exception, SettingsError)
    assert said in str(outcome.exception)


def test_a_template_that_cannot_be_asked_is_refused_before_anything_is_played(
    tmp_path: Path, served: tuple[Arrivals, str]
) -> None:
    arrivals, url = served
    template = tmp_path / "other.toml"
    template.write_text('[events]\npath = "/api/events"\nbody = "{events}"')
    typed = ["play", str(recording(tmp_path)), "--url", url, "--target", str(template), "--recommend", "all"]
    outcome = TYPED.invoke(REPLAY, typed)
    assert isinstance(outcome.exception, SettingsError)
    assert "has no [recommendations]: add it, or leave --recommend out" in str(outcome.exception)
    assert (arrivals.events, "playing" in outcome.output) == ([], False)


def test_limit_finds_a_rate_within_its_ceiling(tmp_path: Path, served: tuple[Arrivals, str]) -> None:
    _, url = served
    out = tmp_path / "limit.json"
    slo = "p50<10s,errors<1%,fresh_p99<30s"
    typed = ["limit", str(recording(tmp_path, 3)), "--slo", slo, "--url", url, "--start", "8", "--ceiling", "16"]
    more = ["--step", "0.5", "--confirm", "0.5", "--watch", "1", "-o", str(out)]  # too few to be called late
    outcome = TYPED.invoke(REPLAY, [*typed, *more])
    assert outcome.exit_code == 0, outcome.output
    found = orjson.loads(out.read_bytes())
    assert (found["rate"], [step["rate"] for step in found["steps"]]) == (16.0, [8.0, 16.0, 16.0])
    assert [step["phase"] for step in found["steps"]] == ["doubling", "doubling", "confirming"]
    assert found["steps"][-1]["result"]["scheduled"] == 8  # clones fill the time: 3 are recorded
    assert "the ceiling of the search" in " ".join(outcome.output.split())


def test_limit_exits_1_when_nothing_holds(tmp_path: Path, served: tuple[Arrivals, str]) -> None:
    typed = [
        "limit",
        str(recording(tmp_path)),
        "--slo",
        "p50<1us",
        "--url",
        served[1],
        "--start",
        "40",
        "--step",
        "0.5",
    ]
    outcome = TYPED.invoke(REPLAY, typed)
    assert outcome.exit_code == 1
    assert "Highest rate with p50<1us: none" in " ".join(outcome.output.split())


@pytest.mark.parametrize(("tool", "name"), [("vegeta", "targets.jsonl"), ("k6", "script.js")])
def test_export_writes_the_requests_of_a_schedule(tmp_path: Path, tool: str, name: str) -> None:
    out = tmp_path / name
    typed = ["export", str(recording(tmp_path)), "-o", str(out), "--to", tool, "--url", "http://shop:1", "--run", "r"]
    outcome = TYPED.invoke(REPLAY, [*typed, "--rate", "10", "--events", "5"])
    assert outcome.exit_code == 0, outcome.output
    lines = [orjson.loads(line) for line in out.with_suffix(".jsonl").read_bytes().splitlines()]
    assert [(one["method"], one["url"]) for one in lines] == [("POST", "http://shop:1/api/events")] * 5
    bodies = [base64.b64decode(one["body"]) if tool == "vegeta" else one["body"] for one in lines]
    assert [orjson.loads(body)[0]["event_id"] for body in bodies] == [f"r-e{n}" for n in range(5)]
    header = lines[0]["header" if tool == "vegeta" else "headers"]["Content-Type"]
    assert header in (["application/json"], "application/json")
    said = " ".join(outcome.output.split())
    assert ("-rate=10 -duration=0.500s" if tool == "vegeta" else f"k6 run {out}") in said
    if tool == "k6":
        assert "__ENV.RATE || 10.0" in out.read_text()
        assert "script.jsonl" in out.read_text()
