"""Tuning begins with the settings there are, goes on where it stopped, stops on time, writes what training reads."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.errors import SettingsError
from eventlog.files import write_events, write_items
from learning.settings_file import training_settings
from nextclick.cli import build_app
from nextclick.commands.item_options import known_items
from session_model.training_settings import Step, TrainingSettings

torch = pytest.importorskip("torch", reason="needs the train extra")
optuna = pytest.importorskip("optuna", reason="needs the train extra")

from learning import tuning  # noqa: E402
from learning.tuning import SPACE, Span, Task, best_of, open_study, run, worth  # noqa: E402
from session_model.histories import from_events  # noqa: E402
from session_model.quality import split_by_time  # noqa: E402
from tests.session_model.test_training import group_events, group_items  # noqa: E402

pytestmark = pytest.mark.torch
SMALL = TrainingSettings(dim=8, batch_sessions=128)


def task(sessions: int = 200, seed: int = 1) -> Task:
    past = from_events(group_events(sessions, 1), idle_gap_ms=60_000, max_clicks=50)
    return Task(*split_by_time(past, 0.2), {}, SMALL, repeats=False, seed=seed)


def test_what_is_tried_are_settings_and_their_defaults_lie_within() -> None:
    usual = TrainingSettings()
    for name, span in SPACE.items():
        value = getattr(usual, name)
        assert span.low <= value <= span.high if isinstance(span, Span) else value in span, name
        for end in (span.low, span.high) if isinstance(span, Span) else span:
            TrainingSettings.model_validate({name: end})


def test_the_first_trial_has_the_settings_begun_from_and_the_winner_is_no_worse(tmp_path: Path) -> None:
    study, asked = open_study(tmp_path / "s.db", task()), task()
    run(study, asked, trials=3, clock_s=lambda: 0.0, until_s=None)
    best = best_of(study, asked)
    assert best is not None
    assert study.trials[0].params["learning_rate"] == SMALL.learning_rate
    assert best.begun_with == study.trials[0].value == worth(asked, SMALL, lambda step: None)
    assert best.value >= best.begun_with
    assert best.finished + best.pruned == 3
    assert "id_dropout" not in best.chosen  # there is no catalogue


def test_the_winning_settings_as_written_give_the_winning_figure(tmp_path: Path) -> None:
    study, asked = open_study(tmp_path / "s.db", task()), task()
    run(study, asked, trials=2, clock_s=lambda: 0.0, until_s=None)
    best = best_of(study, asked)
    assert best is not None
    settings = TrainingSettings.model_validate({**SMALL.model_dump(), **best.chosen})
    assert worth(asked, settings, lambda step: None) == best.value


def test_a_study_goes_on_with_other_trials_and_refuses_other_data(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    run(open_study(path, task()), task(), trials=1, clock_s=lambda: 0.0, until_s=None)
    again = open_study(path, task())
    run(again, task(), trials=2, clock_s=lambda: 0.0, until_s=None)
    assert len(again.trials) == 3
    assert len({trial.params["scale"] for trial in again.trials}) == 3
    with pytest.raises(SettingsError, match=r"holds trials for 161 and 39 sessions.* these would be for 120 and 30"):
        open_study(path, task(150))


def test_tuning_may_begin_with_a_value_that_is_none_of_those_tried(tmp_path: Path) -> None:
    asked = replace(task(), base=SMALL.model_copy(update={"memory": 5}))
    study = open_study(tmp_path / "s.db", asked)
    run(study, asked, trials=2, clock_s=lambda: 0.0, until_s=None)
    assert study.trials[0].params["memory"] == 5
    with pytest.raises(SettingsError, match=r"holds trials for .*, memory 5; these would be for .*'': name another"):
        open_study(tmp_path / "s.db", task())


def test_a_setting_that_an_older_releases_winner_did_not_try_is_as_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = {name: span for name, span in SPACE.items() if not name.startswith("memory")}
    with monkeypatch.context() as before:
        before.setattr(tuning, "SPACE", older)
        run(open_study(tmp_path / "s.db", task()), task(), trials=1, clock_s=lambda: 0.0, until_s=None)
    best = best_of(open_study(tmp_path / "s.db", task()), task())
    assert best is not None
    assert best.chosen["memory"] == 0
    assert best.chosen["learning_rate"] == SMALL.learning_rate


def test_time_that_is_up_ends_the_trial_under_way_at_its_next_check(tmp_path: Path) -> None:
    study, asked = open_study(tmp_path / "s.db", task()), task()
    now_s, steps = [0.0], list[Step]()

    def watch(number: int, step: Step) -> None:
        steps.append(step)
        now_s[0] += number * (step.stage == "check")  # only from the second trial on does time pass

    run(study, asked, trials=9, clock_s=lambda: now_s[0], until_s=2.0, progress=watch)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert max(study.trials[1].intermediate_values) == 2
    assert steps[-1].stage == "check"


def test_the_command_writes_a_file_that_training_reads_and_goes_on(tmp_path: Path) -> None:
    write_events(tmp_path / "log.jsonl.zst", group_events(200, 1))
    out = tmp_path / "settings" / "groups.toml"
    words = ["tune", tmp_path / "log.jsonl.zst", "--out", out, "--trials", "1", "--dim", "8"]
    told = CliRunner().invoke(build_app(), list(map(str, words)), env={"COLUMNS": "300"})
    assert told.exit_code == 0, f"{told.output}\n{told.exception!r}"
    found = training_settings(out)
    assert found.dim == 8
    assert found.learning_rate == TrainingSettings().learning_rate
    assert out.with_suffix(".db").exists()
    assert "trial 0: MRR@20" in told.output
    told = CliRunner().invoke(build_app(), list(map(str, words)), env={"COLUMNS": "300"})
    assert "trial 1: " in told.output
    assert "trial 0: " not in told.output


def test_session_lines_are_tuned_on_too_and_content_counts_where_there_is_some(tmp_path: Path) -> None:
    held: dict[str, list[str]] = {}
    for event in group_events(200, 1):
        held.setdefault(event.session_id, []).append(event.item_id or "")
    (tmp_path / "train.txt").write_text("\n".join(" ".join(items) for items in held.values()))
    words = ["tune", tmp_path / "train.txt", "--out", tmp_path / "o.toml", "--trials", "1", "--last-sessions", "150"]
    told = CliRunner().invoke(build_app(), list(map(str, words)), env={"COLUMNS": "300"})
    assert told.exit_code == 0, f"{told.output}\n{told.exception!r}"
    assert "Trials for 13" in told.output
    with_items = Task(
        *split_by_time(from_events(group_events(50, 1), idle_gap_ms=60_000, max_clicks=50), 0.2),
        group_items(),
        SMALL,
        repeats=True,
        seed=1,
    )
    assert "id_dropout" in with_items.names


@pytest.mark.parametrize("command", ["tune", "session-model"])
def test_a_shops_table_is_read_as_lines_of_json_are(tmp_path: Path, command: str) -> None:
    write_events(tmp_path / "log.jsonl.zst", group_events(200, 1))
    items = group_items()
    write_items(tmp_path / "items.jsonl.zst", items.items())
    with (tmp_path / "items.csv").open("w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["SKU", "Name", "category", "Preis"])
        rows.writerows((item_id, item.title, item.category, item.price) for item_id, item in items.items())
    table = ["items.csv", "--map", "item_id=SKU", "--map", "title=Name", "--map", "price=Preis"]
    told = {}
    for name, words in (("lines", ["items.jsonl.zst"]), ("table", table), ("unmapped", ["items.csv"])):
        asked = ["tune", "--trials", "1"] if command == "tune" else ["train", "session-model", "--train-epochs", "1"]
        out = ["--out", f"{name}.toml" if command == "tune" else name]
        path, *options = words
        given = ["--items", str(tmp_path / path), *options]
        answer = CliRunner().invoke(
            build_app(),
            [*asked, str(tmp_path / "log.jsonl.zst"), "--dim", "8", *given, out[0], str(tmp_path / out[1])],
            env={"COLUMNS": "300"},
        )
        told[name] = (answer.exit_code, str(answer.exception) if answer.exit_code else answer.output.split()[:10])
    assert told["lines"][0] == 0, told
    assert told["table"] == told["lines"]
    assert told["unmapped"][0] == 1
    assert "item_id" in str(told["unmapped"][1])


def test_a_map_without_a_file_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="expected an items file with --items, as --map and --list are of its columns"
    ):
        known_items(None, ["title=Name"], None)
