"""`nextclick dead-letters` as people type it, in processes of its own, on both logs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from contracts.errors import NextclickError
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter, Topic
from eventlog.open_log import open_dead_letters, open_reader, open_writer
from nextclick.commands.letter_options import time_of
from tests.eventlog.logs import read_all
from tests.nextclick.test_cli import ROOT, nextclick


def click(**more: Any) -> bytes:
    own = {"v": 1, "event_id": "e-1", "type": "view", "session_id": "s", "item_id": "i"}
    return orjson.dumps({**own, "ts": time.time_ns() // 1_000_000, **more})


def three_letters() -> list[DeadLetter]:
    now_ms = time.time_ns() // 1_000_000
    return [
        DeadLetter("gateway", 0, "future_timestamp", "ts is 600 s ahead", now_ms - 7_200_000, click()),
        DeadLetter("clicks:1:7", 1, "not_json", "unexpected [bold]end\x1b[31m", now_ms - 60_000, b"{\x1b]0;evil\x07"),
        DeadLetter("clicks:1:9", 1, "late", "its session has closed", now_ms, click(ts=1)),
    ]


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["redis", pytest.param("kafka", marks=pytest.mark.kafka)])
def log(request: pytest.FixtureRequest) -> LogSettings:
    if request.param == "redis":
        return LogSettings(partitions=4)
    settings: LogSettings = request.getfixturevalue("kafka_log_settings")
    return settings


@pytest.fixture
def run(log: LogSettings, redis_settings: RedisSettings) -> Run:
    """Write three letters, and return what runs a command on them."""
    writer = open_writer(log, redis_settings)
    writer.dead_letter(three_letters())
    writer.close()
    environment = {
        "NEXTCLICK_REDIS__URL": redis_settings.url,
        "NEXTCLICK_REDIS__PREFIX": redis_settings.prefix,
        **{f"NEXTCLICK_LOG__{name.upper()}": str(value) for name, value in log.model_dump().items()},
    }
    return lambda *words: nextclick("dead-letters", *words, **environment)


def kept(log: LogSettings, redis_settings: RedisSettings) -> list[str]:
    letters = open_dead_letters(log, redis_settings)
    found = [letter.reason for letter in letters.read(10)]
    letters.close()
    return found


@pytest.mark.slow
def test_letters_are_listed_shown_and_counted(run: Run) -> None:
    listed = run("list")
    assert listed.returncode == 0, listed.stderr
    rows = [line for line in listed.stdout.splitlines() if "p1:" in line or "p0:" in line]
    assert [row.split("│")[1].strip() for row in rows] == ["p1:1", "p1:0", "p0:0"]
    assert "unexpected [bold]end\ufffd[31m" in " ".join(listed.stdout.split())

    chosen = run("list", "--since", "1h", "--reason", "not_json")
    assert ("p1:0" in chosen.stdout, "p1:1" in chosen.stdout, "p0:0" in chosen.stdout) == (True, False, False)

    shown = run("show", "p1:0")
    assert "reason    not_json" in shown.stdout
    assert "{\ufffd]0;evil\ufffd" in shown.stdout
    assert "\x1b" not in shown.stdout + listed.stdout

    counted = run("count", "--partition", "1")
    assert [word for word in counted.stdout.split() if word in ("late", "not_json", "all", "2")][-2:] == ["all", "2"]
    assert "future_timestamp" not in counted.stdout


@pytest.mark.slow
def test_replay_says_what_became_of_each_and_the_accepted_leave_the_list(
    run: Run, log: LogSettings, redis_settings: RedisSettings
) -> None:
    replayed = run("replay", "--all")
    assert replayed.returncode == 1, replayed.stderr
    lines = replayed.stdout.splitlines()
    assert lines[0].startswith("p0:0 accepted: clicks:")
    assert lines[1].startswith("p1:0 refused again: not_json: ")
    assert lines[2].startswith("p1:1 ")
    assert kept(log, redis_settings)[0] == "not_json"

    again = run("replay", "p0:0")
    assert again.returncode == 1
    assert "there is no dead letter p0:0" in again.stderr


@pytest.mark.slow
def test_a_replay_that_is_killed_loses_nothing(redis_settings: RedisSettings) -> None:
    log = LogSettings(partitions=4)
    writer = open_writer(log, redis_settings)
    events = {f"e-{n}": click(event_id=f"e-{n}") for n in range(1500)}
    writer.dead_letter([DeadLetter("gateway", 0, "invalid", "", 0, one) for one in events.values()])
    writer.close()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NEXTCLICK_REDIS__URL": redis_settings.url,
        "NEXTCLICK_REDIS__PREFIX": redis_settings.prefix,
        "NEXTCLICK_LOG__PARTITIONS": "4",
    }
    code = "from nextclick.cli import main; main()"
    runs = 0
    while kept(log, redis_settings):
        command = [sys.executable, "-u", "-c", code, "dead-letters", "replay", "--all"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(400):  # a moment in the middle of it
                process.stdout.readline()
            process.kill()
        runs += 1
    assert runs > 1
    reader = open_reader(log, redis_settings, Topic.CLICKS, [0, 1, 2, 3], "sessions")
    taken = sum(reader.ends().values())
    found = {orjson.loads(message.value)["event_id"] for _, message in read_all(reader, taken)}
    reader.close()
    assert found == set(events)
    assert taken <= 1500 + 200 * runs


@pytest.mark.slow
def test_dropped_letters_are_gone(run: Run, log: LogSettings, redis_settings: RedisSettings) -> None:
    dropped = run("drop", "p1:0", "p0:0")
    assert (dropped.returncode, dropped.stdout) == (0, "2 dropped.\n"), dropped.stderr
    assert kept(log, redis_settings) == ["late"]
    assert run("drop", "--until", "1h").stdout == "0 dropped.\n"
    assert run("drop", "--all").stdout == "1 dropped.\n"
    assert run("list").stdout == "There are no dead letters.\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["replay"], "expected which letters: names (p3:17), --reason, --partition, --since or --until; or --all"),
        (["drop", "--all", "--reason", "late"], "expected --all, or names and options that choose some; got both"),
        (["show", "17"], "expected a letter's name such as p3:17, as `list` shows it, got '17'"),
        (["show", "p0:17"], "there is no dead letter p0:17: `nextclick dead-letters list` shows those there are"),
        (
            ["show", "p99:1"],
            "error expected a letter of partition 0 to 3 (log.partitions), such as p3:17, got p99:1: `nextclick "
            "dead-letters list` shows",
        ),
        (
            ["drop", "p0:1", "p4:1"],
            "error expected a letter of partition 0 to 3 (log.partitions), such as p3:17, got p4",
        ),
        (["replay", "p4:1"], "error expected a letter of partition 0 to 3 (log.partitions), such as p3:17, got p4:1"),
        (["count", "--partition", "9"], "--partition: expected a partition from 0 to 3 (log.partitions), got 9"),
        (["list", "--since", "noon"], "--since: expected so long ago (90s, 30m, 2h, 7d) or a time such as"),
        (["list", "--redis", "redis://127.0.0.1:1/0"], "could not read dead letters: expected an answer from Redis"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(redis_settings: RedisSettings, words: list[str], said: str) -> None:
    environment = {"NEXTCLICK_REDIS__URL": redis_settings.url, "NEXTCLICK_REDIS__PREFIX": redis_settings.prefix}
    shown = nextclick("dead-letters", *words, NEXTCLICK_LOG__PARTITIONS="4", **environment)
    assert shown.returncode == 1
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_time_is_so_long_ago_or_a_moment() -> None:
    assert time_of("--since", "90s", 1_000_000) == 910_000
    assert time_of("--since", "2h", 7_200_000) == 0
    assert time_of("--since", "1d", 86_400_001) == 1
    assert time_of("--since", "1970-01-02", 0) == 86_400_000
    assert time_of("--since", "1970-01-01T01:00:00+01:00", 0) == 0
    assert time_of("--since", None, 5) is None
    for broken in ("yesterday", "2 h", "-1h", "1w", ""):
        with pytest.raises(NextclickError, match="expected so long ago"):
            time_of("--until", broken, 0)
