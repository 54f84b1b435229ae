"""Training the user tower on a recording, beside the session model that will serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ArtifactError
from contracts.items import Item
from contracts.outputs import expect_replaceable
from contracts.settings import SessionSettings
from eventlog.files import read_events
from learning.training import load_towers
from learning.users.catalogue_side import ItemSide
from learning.users.known import Knowing
from learning.users.learn import lessons_of
from learning.users.settings import UserSettings
from learning.users.tower_artifact import USER_TOWER, save_tower
from learning.users.visits import learnt_sessions, read_visits
from session_model.artifact import folder_kind
from session_model.torch_extra import expect_torch

MIN_MOMENTS = 20


@dataclass(frozen=True, slots=True)
class TrainedTower:
    """What training made: its folder and version, and how many moments it learnt from."""

    folder: Path
    version: str
    moments: int


def train_tower(
    events: Path,
    items: Mapping[str, Item],
    artifacts: Path,
    settings: UserSettings,
    *,
    seed: int,
    dense: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainedTower:
    """Train on recorded events and write `<artifacts>/user_tower`; `<artifacts>/session_model` is read.

    The same input, settings and seed give the same artifact. Raises ArtifactError without a session model, or with too
    few visits of visitors with a history; SettingsError without the `train` extra.
    """
    expect_torch()
    expect_replaceable(artifacts / USER_TOWER, folder_kind(USER_TOWER))
    towers = load_towers(artifacts)
    if towers.encoder is None:
        raise ArtifactError(f"{artifacts}: expected a session model, found none: `nextclick train session-model` first")
    visits = read_visits(read_events(events), SessionSettings().idle_gap_ms)
    end_ms = int(visits.sessions.ts_ms.max()) + 1
    side = ItemSide.of(learnt_sessions(visits, end_ms), items)
    lessons = lessons_of(visits, Knowing(visits, towers, items, settings), side, end_ms, settings, seed)
    if len(lessons.targets) < MIN_MOMENTS:
        raise ArtifactError(
            f"{events}: expected at least {MIN_MOMENTS} clicks of visitors with an earlier visit, got "
            f"{len(lessons.targets)}: record more days, with user ids"
        )
    from learning.users.fitting import fit_tower

    hidden = settings.dense if dense else settings.hidden
    tower = fit_tower(lessons, hidden, settings, seed, progress)
    provenance = {
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "hidden": list(hidden),
        "moments": len(lessons.targets),
        "last_ms": end_ms - 1,
    }
    manifest = save_tower(artifacts / USER_TOWER, tower, towers.version, provenance)
    return TrainedTower(artifacts / USER_TOWER, manifest.version, len(lessons.targets))
