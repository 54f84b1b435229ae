"""Settings of training in a file: read as they were written, refused by name, and behind what the command line says."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from contracts.errors import SettingsError
from learning.settings_file import as_replayed, reranker_settings, settings_document, training_settings
from session_model.training_settings import TrainingSettings


def file(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    chosen = {"learning_rate": 0.0123, "negatives": 512, "text": 'a "b" \\ c'}
    text = settings_document(chosen, "made here\nand now")
    assert text.startswith("# made here\n# and now\n\n[session_model]\nlearning_rate = 0.0123\n")
    found = training_settings(file(tmp_path, text))
    assert found == TrainingSettings().model_copy(update=chosen)


def test_a_group_is_written_as_a_table_of_its_own(tmp_path: Path) -> None:
    base = TrainingSettings.model_validate({"dim": 8, "session": {"max_events": 30, "idle_gap": "PT1H"}})
    text = settings_document(base.model_dump(mode="json", exclude_defaults=True), "")
    assert 'session = { max_events = 30, idle_gap = "PT1H" }' in text
    assert training_settings(file(tmp_path, text)) == base


def test_the_command_line_comes_first_and_the_defaults_last(tmp_path: Path) -> None:
    path = file(tmp_path, "[session_model]\ndim = 32\nnegatives = 7\n")
    found = training_settings(path, dim=16, train_epochs=None)
    assert (found.dim, found.negatives, found.train_epochs) == (16, 7, TrainingSettings().train_epochs)
    assert training_settings(None) == TrainingSettings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[session_model]\nlearningrate = 1.0\n", r"settings\.toml: \[session_model\] learningrate: Extra inputs"),
        (
            "[session_model]\nlerning_rate = 1.0\n",
            r"lerning_rate: .*: did you mean learning_rate or settle_rate\?",
        ),
        ("[session_model]\ndim = 1\n", r"settings\.toml: \[session_model\] dim: .*greater than or equal to 2, got 1"),
        ("[other]\ndim = 8\n", r"expected the tables \[session_model\], \[reranker\] and \[user_models\], got other"),
        ("dim = 8\n", r"expected the tables \[session_model\], \[reranker\] and \[user_models\], got dim"),
        ("reranker = 3\n", r"expected the tables .*, got reranker"),
        ("nothing", "expected TOML, got something else"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        training_settings(file(tmp_path, text))


def test_the_reranker_has_a_table_of_its_own(tmp_path: Path) -> None:
    path = file(tmp_path, '[session_model]\ndim = 32\n[reranker]\ntrees = 40\ntrend = { half_life = "P32D" }\n')
    found = reranker_settings(path, depth=3, groups=None)
    assert (found.trees, found.depth, found.groups) == (40, 3, 100_000)
    assert found.trend.half_life == timedelta(days=32)
    assert training_settings(path).dim == 32
    with pytest.raises(SettingsError, match=r"settings\.toml: \[reranker\] trend\.half: Extra inputs"):
        reranker_settings(file(tmp_path, "[reranker]\ntrend = { half = 3 }\n"))
    with pytest.raises(SettingsError, match=r"settings\.toml: \[reranker\] tree: Extra inputs"):
        reranker_settings(file(tmp_path, "[reranker]\ntree = 40\n"))


def test_a_half_life_of_the_command_line_leaves_the_other_trends_of_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, '[reranker]\ntrend = { half_life = "P32D", recent_pace = 7.0 }\n')
    trend = reranker_settings(path, 6.0).trend
    assert (trend.half_life, trend.recent_pace) == (timedelta(hours=6), 7.0)


def test_a_recording_that_is_played_faster_fades_and_ends_its_sessions_faster(tmp_path: Path) -> None:
    path = file(tmp_path, "[reranker]\ntrend = { recent_pace = 7.0 }\nsession = { max_events = 9 }\n")
    hurried = as_replayed(reranker_settings(path, 12.0), 100.0)
    assert (hurried.trend.half_life, hurried.trend.recent_pace) == (timedelta(minutes=7, seconds=12), 7.0)
    assert (hurried.session.idle_gap, hurried.session.max_events) == (timedelta(seconds=18), 9)


def test_a_mistake_in_the_rerankers_table_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    path = file(tmp_path, "[reranker]\ntree = 40\n")
    command = ["train", "models", str(path), "--out", str(tmp_path / "out"), "--settings", str(path)]
    program = [sys.executable, "-c", "from nextclick.cli import main; main()"]
    told = subprocess.run([*program, *command], capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "[reranker] tree: Extra inputs" in " ".join(told.stderr.split())


def test_every_settings_file_of_the_repository_is_understood() -> None:
    half_lives = {
        path.stem: (training_settings(path).dim, reranker_settings(path).trend.half_life)
        for path in (Path(__file__).parents[2] / "settings").glob("*.toml")
    }
    assert half_lives == {
        "diginetica": (128, timedelta(days=32)),
        "yoochoose-1-64": (128, timedelta(days=32)),
        "globo": (128, timedelta(hours=12)),
    }


def test_importing_the_commands_imports_no_learning_library() -> None:
    program = (
        "import sys; from nextclick.cli import build_app; build_app(); "
        "print(sorted({'torch', 'xgboost', 'usearch', 'optuna', 'pyarrow'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
