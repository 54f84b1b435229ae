"""The evaluation commands, as people type them, on small recordings."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest
from rich.console import Console
from typer.testing import CliRunner

from contracts.errors import SettingsError
from contracts.settings import TrendOptions
from evaluation.next_item import Interval, NextItemMetrics
from eventlog.files import write_events
from learning.evaluate_next_item import Row
from learning.reading import read_sessions
from nextclick.cli import build_app
from nextclick.show.evaluation_tables import next_item_table
from nextclick.show.stream_picture import draw
from tests.rerank.traffic import traffic

pytestmark = pytest.mark.torch
MODELS = ["popularity", "session popularity", "co-visitation", "association rules", "sequential rules", "VS-kNN"]
MODELS += ["VMIS-kNN", "session encoder, exact", "session encoder, usearch", "full pipeline"]


def typed(*words: str | Path) -> str:
    done = CliRunner().invoke(build_app(), ["evaluate", *map(str, words)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


def refused(*words: str | Path) -> str:
    done = CliRunner().invoke(build_app(), ["evaluate", *map(str, words)], env={"COLUMNS": "200"})
    assert isinstance(done.exception, SettingsError)
    return str(done.exception)


def lines(path: Path, sessions: int, seed: int = 3) -> Path:
    held: dict[str, list[str]] = {}
    for event in traffic(sessions, seed=seed):
        held.setdefault(event.session_id, []).append(event.item_id or "")
    path.write_text("\n".join(" ".join(items) for items in held.values()))
    return path


def test_next_items_of_session_files(tmp_path: Path) -> None:
    train, test = lines(tmp_path / "train.txt", 500), lines(tmp_path / "test.txt", 60, seed=8)
    out, kept = tmp_path / "found.json", tmp_path / "artifacts"
    options = ("--baselines", "--dim", "8", "--limit-cases", "100", "--out", out, "--artifacts", kept)
    shown = typed("next-item", "--train", train, "--test", test, *options)
    found = orjson.loads(out.read_bytes())
    assert [row["name"] for row in found["rows"]] == MODELS
    by_name = {row["name"]: row for row in found["rows"]}
    pipeline, popular = by_name["full pipeline"]["all"], by_name["popularity"]["all"]
    assert pipeline["cases"] == 100
    assert pipeline["hit_rate"]["low"] <= pipeline["hit_rate"]["value"] <= pipeline["hit_rate"]["high"]
    assert pipeline["mrr"]["value"] > popular["mrr"]["high"]
    assert by_name["full pipeline"]["new"]["cases"] < 100
    assert found["recall"]["any"] >= found["recall"]["nearest"] > 0
    assert (kept / "session_model" / "manifest.json").exists()
    assert f"{pipeline['mrr']['value']:.4f}" in shown
    assert f"[{pipeline['mrr']['low']:.3f}, {pipeline['mrr']['high']:.3f}]" in shown
    assert found["known_targets"] == 1.0
    assert "100.0% of the targets are items of the training sessions" in shown
    ablation = ("--without", "nearest", "--without", "popularity")
    typed("next-item", "--train", train, "--test", test, *options[1:], *ablation)
    ablated = orjson.loads(out.read_bytes())
    assert [row["name"] for row in ablated["rows"]] == MODELS[-3:]
    assert ablated["rows"][0]["all"] == by_name["session encoder, exact"]["all"]  # the model that was kept
    told = TrendOptions(half_life=ablated["settings"]["reranking"]["trend"]["half_life"])
    assert told.half_life == timedelta(hours=ablated["half_life_hours"])
    assert (ablated["recall"]["nearest"], ablated["settings"]["without"]) == (0.0, ["nearest", "popularity"])
    for others in (("--seed", "7"), ("--train", lines(tmp_path / "late.txt", 500, seed=4))):
        said = refused("next-item", "--train", train, "--test", test, *options[1:], *others)
        assert "to come from these sessions, items, settings and seed, got one from others" in said


def test_a_second_fold_has_a_session_model_of_its_own_and_the_re_ranker_learns_from_both(tmp_path: Path) -> None:
    train, test = lines(tmp_path / "train.txt", 500), lines(tmp_path / "test.txt", 20, seed=8)
    out, kept, settings = tmp_path / "found.json", tmp_path / "artifacts", tmp_path / "settings.toml"
    groups = {}
    for folds in (1, 2):
        settings.write_text(f"[session_model]\ndim = 8\ntrain_epochs = 1\n[reranker]\nfolds = {folds}\n")
        typed("next-item", "--train", train, "--test", test, "--settings", settings, "--artifacts", kept, "--out", out)
        groups[folds] = orjson.loads(out.read_bytes())["groups"]
        assert (kept / "earlier-2" / "session_model").exists() == (folds == 2)
    assert groups[2] > 1.5 * groups[1]


def test_what_cannot_be_left_out_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    train, test = lines(tmp_path / "train.txt", 500), lines(tmp_path / "test.txt", 20, seed=8)
    kept = tmp_path / "artifacts"
    said = refused("next-item", "--train", train, "--test", test, "--without", "vote", "--artifacts", kept)
    assert "cannot leave out ['vote']: did you mean votes? expected of nearest, covisit" in said
    assert not kept.exists()


def test_a_stream_with_its_picture(tmp_path: Path) -> None:
    write_events(tmp_path / "log.jsonl.zst", traffic(600))
    out, picture = tmp_path / "found.json", tmp_path / "curves.html"
    hours = ("--from-hour", "7", "--to-hour", "10", "--retrain-hours", "2")
    shown = typed("stream", tmp_path / "log.jsonl.zst", *hours, "--dim", "8", "--out", out, "--picture", picture)
    found = orjson.loads(out.read_bytes())
    assert found["hours"] == [7, 8, 9]
    assert found["models"]["full pipeline"]["all"]["hit_rate"] > found["models"]["recent popularity"]["all"]["hit_rate"]
    assert len(found["models"]["full pipeline"]["by_hour"]) == 3
    assert f"{found['models']['full pipeline']['all']['mrr']:.4f}" in shown
    assert "session model of hour 9" in shown
    assert "full pipeline</text>" in picture.read_text()


def test_the_picture_draws_every_hour_of_every_model_and_fetches_nothing() -> None:
    pairs = [{"hit_rate": 0.5, "mrr": 0.25}, {"hit_rate": 0.25, "mrr": 0.5}]
    figures = {
        "cases": 2,
        "new_cases": 1,
        "hours": [6, 7],
        "models": {name: {"by_hour": pairs} for name in ("a < b", "full pipeline")},
    }
    page = draw(figures, title="Clicks & hours")
    assert "//" not in page
    assert "Clicks &amp; hours" in page
    charts = [part.partition("</svg>")[0] + "</svg>" for part in page.split("<svg")[1:]]
    curves = [ElementTree.fromstring("<svg" + chart).findall("polyline") for chart in charts]
    assert [len(of_chart) for of_chart in curves] == [2, 2]
    assert curves[0][0].get("points") == "48.0,147.0 770.0,28.0"


def test_a_narrow_terminal_cuts_no_figure() -> None:
    figure = Interval(0.71184, 0.7, 0.72)
    figures = NextItemMetrics(10_068, figure, figure, figure, 0.3, 1_234.0, 0.8)
    row = Row("session encoder, usearch", figures, figures, (1_371.9, 102.7))
    narrow = Console(width=80, file=StringIO())
    narrow.print(next_item_table(narrow, "Without repeats (what the session clicked is left out)", [row], "all"))
    assert isinstance(narrow.file, StringIO)
    shown = narrow.file.getvalue()
    assert [word in shown for word in (row.name, "0.7118", "[0.700, 0.720]", "COLUMNS=155")] == [True] * 4
    assert "\u2026" not in shown


def test_mixed_kinds_of_files_are_refused_by_name(tmp_path: Path) -> None:
    log, test = tmp_path / "log.jsonl.zst", lines(tmp_path / "test.txt", 9)
    write_events(log, traffic(9))
    said = refused("next-item", "--train", log, "--test", test)
    assert said.endswith(f"two .txt of one session a line or two event logs, got {log} and {test}")
    assert "expected --test or --held-out" in refused("next-item", "--train", log, "--test", log, "--held-out", "0.2")


@pytest.mark.parametrize("name", ["clicks.csv", "folder"])
def test_a_table_or_a_folder_is_refused_with_what_makes_a_log_of_it(tmp_path: Path, name: str) -> None:
    given = tmp_path / name
    given.mkdir() if name == "folder" else given.write_text("SessionId,ItemId,Time\n1,a,5\n")
    said = refused("next-item", "--train", given)
    assert "expected sessions, one a line (.txt), or an event log (.jsonl.zst)" in said
    assert said.endswith("`nextclick import csv` makes a log of a table of clicks")


def test_sessions_without_times_need_a_test_file(tmp_path: Path) -> None:
    assert "expected --test beside sessions without times" in refused(
        "next-item", "--train", lines(tmp_path / "a.txt", 9)
    )


def test_too_little_to_learn_from_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    train, test, kept = lines(tmp_path / "train.txt", 20), lines(tmp_path / "test.txt", 20), tmp_path / "artifacts"
    said = refused("next-item", "--train", train, "--test", test, "--artifacts", kept)
    assert f"{train}: expected at least 40 next clicks in the last 10% of the training sessions" in said
    assert "were --train and --test exchanged?" in said
    assert not kept.exists()


def test_every_fold_counts_for_what_is_enough_to_learn_from(tmp_path: Path) -> None:
    train, test = tmp_path / "train.txt", lines(tmp_path / "test.txt", 20)
    train.write_text("a b\n" * 200)
    assert len(read_sessions(train, test, None, folds=2)[0]) == 200
    with pytest.raises(SettingsError, match=r"in the last 10% .*, got 20 in 20 of 200 sessions"):
        read_sessions(train, test, None, folds=1)


def test_a_test_file_without_a_next_click_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    test = tmp_path / "test.txt"
    test.write_text("a\nb\n")
    said = refused("next-item", "--train", lines(tmp_path / "train.txt", 500), "--test", test)
    assert said == f"{test}: expected sessions of two clicks or more to ask for, got 2 of one click"


def test_a_stream_that_asks_for_no_click_says_so(tmp_path: Path) -> None:
    write_events(tmp_path / "log.jsonl.zst", traffic(600))
    asked = ("--from-hour", "7", "--share", "0.0001", "--dim", "8", "--picture", tmp_path / "curves.html")
    assert "got none among those drawn by --share 0.0001" in refused("stream", tmp_path / "log.jsonl.zst", *asked)
