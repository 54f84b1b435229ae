"""The command line as people type it, in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from contracts.settings import RedisSettings
from eventlog.files import write_events
from replay.synthetic.shoppers import make_shop, shoppers

ROOT = Path(__file__).parents[2]


def nextclick(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "from nextclick.cli import main; main()"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "TERM": "xterm", **environment}
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=500, check=False
    )


@pytest.mark.slow
def test_the_demo_shows_one_shopper_and_stops() -> None:
    shown = nextclick("demo", "--once", "--port", "0")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for words in ("before the clicks", "after three clicks", "rerank", "click to recommendation, ms"):
        assert words in shown.stdout


def test_the_demo_says_why_it_cannot_start() -> None:
    shown = nextclick("demo", "--once", "--port", "80000")
    assert shown.returncode == 2
    assert "Invalid value for '--port': Input should be less than or equal to 65535" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["--artifacts", "nowhere"], {}, "expected a trained session model in nowhere/session_model, found none"),
        (["--folder", "/proc/nextclick"], {}, "expected a folder that can be written at /proc/nextclick"),
        ([], {"NEXTCLICK_GATEWAY__DEADLNE_MS": "80"}, "NEXTCLICK_GATEWAY__DEADLNE_MS: Extra inputs are not permitted"),
        ([], {"NEXTCLICK_TREND__HALF_LIFE": "2h"}, "a duration is written as PT90S, PT2H or 00:30:00"),
        (["--retrain", "1M"], {}, "NEXTCLICK_RETRAIN__EVERY: "),
        ([], {"NEXTCLICK_CONFIG": "/nowhere.toml"}, "expected a TOML file at '/nowhere.toml', found none"),
    ],
)
def test_a_stack_that_cannot_start_says_so_in_one_line(
    words: list[str], environment: dict[str, str], said: str
) -> None:
    shown = nextclick("up", "--port", "0", *words, **environment)
    assert shown.returncode == 1
    assert said in shown.stderr.replace("\n", " ")
    assert "Traceback" not in shown.stderr


def test_a_misspelt_setting_is_pointed_out_before_anything_starts() -> None:
    shown = nextclick("up", "--artifacts", "nowhere", NEXTCLICK_GATWAY__PORT="1")
    assert "NEXTCLICK_GATWAY__PORT is no setting: did you mean NEXTCLICK_GATEWAY__PORT?" in shown.stdout


def test_progress_counts_from_redis(redis_settings: RedisSettings) -> None:
    environment = {"NEXTCLICK_REDIS__URL": redis_settings.url, "NEXTCLICK_REDIS__PREFIX": redis_settings.prefix}
    shown = nextclick("progress", **environment)
    assert shown.returncode == 0, shown.stderr
    assert "dead_lettered" in shown.stdout
    assert "p7" in shown.stdout


def test_progress_without_redis_says_where_it_looked() -> None:
    shown = nextclick("progress", NEXTCLICK_REDIS__URL="redis://127.0.0.1:1/0")
    assert shown.returncode == 1
    assert "127.0.0.1:1" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_loading_items_without_a_gateway_says_so(tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl"
    items.write_text('{"item_id": "a", "title": "A"}\n')
    shown = nextclick("items", "load", str(items), "--url", "http://127.0.0.1:1")
    assert shown.returncode == 1
    assert "127.0.0.1:1" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.slow
@pytest.mark.torch
def test_models_are_trained_from_one_recording_and_fit_each_other(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    recording, out = tmp_path / "week.jsonl.zst", tmp_path / "models"
    write_events(recording, shoppers(make_shop(np.random.default_rng(1), 300), 1500, np.random.default_rng(2)))
    shown = nextclick("train", "models", str(recording), "--out", str(out), "--speed", "10")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert (out / "session_model" / "manifest.json").exists()
    assert (out / "reranker" / "manifest.json").exists()


def test_a_replay_without_a_gateway_is_refused_before_it_starts(tmp_path: Path) -> None:
    recording = tmp_path / "day.jsonl.zst"
    write_events(recording, shoppers(make_shop(np.random.default_rng(1), 300), 5, np.random.default_rng(2)))
    shown = nextclick("replay", "play", str(recording), "--url", "http://127.0.0.1:1")
    assert shown.returncode == 1
    assert "expected a gateway at http://127.0.0.1:1" in shown.stderr


def test_an_import_that_takes_nothing_is_an_error(tmp_path: Path) -> None:
    clicks = tmp_path / "clicks"
    clicks.mkdir()
    (clicks / "clicks_hour_000.csv").write_text(
        "user_id,session_id,session_start,session_size,click_article_id,click_timestamp,click_environment,"
        "click_deviceGroup,click_os,click_country,click_region,click_referrer_type\n"
        "0,1506825423271737,1506825423000,2,157541,1506826828020,4,3,20,1,20,2\n"
    )
    shown = nextclick("import", "globo", str(tmp_path), "-o", str(tmp_path / "out.jsonl.zst"), "--days", "40:41")
    assert shown.returncode == 1
    assert "expected events, took none" in shown.stderr.replace("\n", " ")


def test_an_import_whose_every_line_is_broken_says_what_is_wrong_with_the_first(tmp_path: Path) -> None:
    clicks = tmp_path / "clicks.txt"
    clicks.write_text("SessionId\tItemId\tTime\n1\t5959\t1593536687.0\n1\t13697\t1593536656.0\n")
    columns = "session_id=SessionId,item_id=ItemId,ts=Time"
    shown = nextclick("import", "csv", str(clicks), "-o", str(tmp_path / "out.jsonl.zst"), "--map", columns)
    assert shown.returncode == 1
    told = " ".join(shown.stderr.split())
    assert "took none: 2 broken lines, the first:" in told
    assert not (tmp_path / "out.jsonl.zst").exists()
    assert "1593536687.0" in told


def test_the_package_runs_as_the_command_does() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "nextclick", "--version"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert told.stdout.startswith("nextclick ")
