"""Folders of models that serve: whether a command may train into one, and how a pair of models gets there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from contracts.errors import OutputRefused, SettingsError
from contracts.outputs import expect_replaceable, made_aside
from contracts.scenarios import NAME_PATTERN
from learning.work_folder import made_by_evaluation

RERANKER = "reranker"


def expect_session_model(out: Path) -> None:
    """Raise OutputRefused unless a session model may be written into a folder of artifacts."""
    from session_model.artifact import SESSION_MODEL, folder_kind

    _expect_serving(out)
    expect_replaceable(out / SESSION_MODEL, folder_kind(SESSION_MODEL))


def expect_reranker(out: Path, name: str = "") -> None:
    """Raise OutputRefused unless a re-ranker, or one of a name, may be written into a folder of artifacts."""
    from rerank.ranker import RANKER

    _expect_serving(out)
    folder = reranker_folder(out, name)
    if name and folder.exists():
        raise OutputRefused(f"{folder}: a name stands for one re-ranker for ever: choose another one than {name!r}")
    expect_replaceable(folder, RANKER)


def reranker_folder(artifacts: Path, name: str = "") -> Path:
    """Return where the re-ranker of a folder of artifacts is, or the one of a name. Raises SettingsError."""
    from rerank.rankers import RERANKERS

    if not name:
        return artifacts / RERANKER
    if not re.fullmatch(NAME_PATTERN, name):
        raise SettingsError(f"expected a name of a to z, 0 to 9, _ and -, 64 characters at most, got {name[:100]!r}")
    return artifacts / RERANKERS / name


def put_models(made: Path, out: Path) -> None:
    """Put the session model and the re-ranker of `made` into `out`, one right after the other once both are copied."""
    from rerank.ranker import RANKER
    from session_model.artifact import SESSION_MODEL, folder_kind

    with (
        made_aside(out / RERANKER, RANKER) as reranker,
        made_aside(out / SESSION_MODEL, folder_kind(SESSION_MODEL)) as model,
    ):
        shutil.copytree(made / RERANKER, reranker, dirs_exist_ok=True)
        shutil.copytree(made / SESSION_MODEL, model, dirs_exist_ok=True)


def _expect_serving(out: Path) -> None:
    if made_by_evaluation(out):
        raise OutputRefused(
            f"{out}: expected a folder of models that serve, found one that `nextclick evaluate` works in: it was left "
            "as it is; name another one"
        )
