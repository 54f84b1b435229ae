"""The commands as people type them, against a real server in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from contracts.errors import ImportFormatError, SettingsError
from eventlog.files import read_header, write_events
from nextclick.replay_commands import import_app, replay_app
from tests.replay.target_server import Arrivals, target_server
from tests.replay.test_importers import HOURS, as_zip
from tests.replay.test_live import answer, click

TYPED = CliRunner()


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
    assert started.wait(10)
    yield arrivals, address[0]
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(10)


def recording(folder: Path, clicks: int = 20) -> Path:
    path = folder / "day.jsonl.zst"
    write_events(path, [click(n, f"s{n % 4}", f"i{n % 5}") for n in range(clicks)])
    return path


def test_import_writes_the_days_that_were_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "day1.jsonl.zst"
    outcome = TYPED.invoke(import_app, ["globo", str(as_zip(tmp_path, HOURS)), "-o", str(out), "--days", "0:1"])
    assert outcome.exit_code == 0, outcome.output
    assert read_header(out).events == 2
    assert "2 events, 2 sessions, 1 items; 0 broken lines skipped" in " ".join(outcome.output.split())


def test_import_refuses_days_and_hours_together(tmp_path: Path) -> None:
    outcome = TYPED.invoke(import_app, ["globo", "x", "-o", str(tmp_path / "x"), "--days", "0:1", "--to-hour", "5"])
    assert isinstance(outcome.exception, SettingsError)


def test_show_prints_the_header(tmp_path: Path) -> None:
    outcome = TYPED.invoke(replay_app, ["show", str(recording(tmp_path))])
    assert outcome.exit_code == 0, outcome.output
    assert "20" in outcome.output


def test_play_sends_every_event_and_writes_the_result(tmp_path: Path, served: tuple[Arrivals, str]) -> None:
    arrivals, url = served
    out, timings = tmp_path / "result.json", tmp_path / "times.npz"
    typed = ["play", str(recording(tmp_path)), "--url", url, "--rate", "200", "--run", "r7", "--recommend", "all"]
    outcome = TYPED.invoke(replay_app, [*typed, "-o", str(out), "--timings", str(timings)])
    assert outcome.exit_code == 0, outcome.output
    assert sorted(arrivals.ids()) == sorted(f"r7-e{n}" for n in range(20))
    result = orjson.loads(out.read_bytes())
    assert (result["accepted"], result["failed"], result["hit_rates"]["questions"]) == (20, {}, 16)
    assert timings.exists()
    assert "HR@20" in outcome.output


def test_play_exits_1_when_events_were_lost(tmp_path: Path) -> None:
    typed = ["play", str(recording(tmp_path, 3)), "--url", "http://127.0.0.1:1", "--rate", "1000", "--give-up", "0.2"]
    outcome = TYPED.invoke(replay_app, typed)
    assert outcome.exit_code == 1
    assert "3 (ConnectionRefusedError 3)" in outcome.output


@pytest.mark.parametrize("share", ["0", "1.5", "some"])
def test_play_refuses_a_share_that_is_none(tmp_path: Path, share: str) -> None:
    outcome = TYPED.invoke(replay_app, ["play", str(recording(tmp_path)), "--recommend", share])
    assert isinstance(outcome.exception, SettingsError)


def test_play_of_something_else_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"hello": 1}\n')
    outcome = TYPED.invoke(replay_app, ["play", str(tmp_path / "x.jsonl")])
    assert isinstance(outcome.exception, ImportFormatError)
    assert "expected a header line" in str(outcome.exception)
