"""Session models of an evaluation: found where one was trained already, else trained, and each with its origin."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xxhash

from contracts.errors import SettingsError
from contracts.items import Item
from evaluation.sessions import Sessions
from learning.replay import Towers
from learning.stages import Shown
from learning.training import load_towers
from learning.work_folder import MADE_FROM, Models
from session_model.artifact import SESSION_MODEL
from session_model.histories import Histories
from session_model.torch_extra import expect_torch
from session_model.training_settings import TrainingSettings


def session_model(
    sessions: Sessions,
    items: Mapping[str, Item],
    models: Models,
    name: str,
    shown: Shown,
    *,
    seed: int,
    training: TrainingSettings,
) -> Towers:
    """Return the session model of this name, trained on the sessions where there is none yet. Raises SettingsError for
    one that an evaluation trained on other sessions, with other settings or another seed.
    """
    made_from = _fingerprint(sessions, items, training, seed)
    found = models.find(name)
    if found is None:
        expect_torch()
        from session_model.training import train_on

        found = models.place(name)
        found.mkdir(parents=True, exist_ok=True)
        (found / MADE_FROM).write_text(made_from)  # first: a model is never there without it
        train_on(histories_of(sessions), items, training, found / SESSION_MODEL, seed=seed, progress=shown.step)
    elif not (found / MADE_FROM).exists():
        shown.warn(f"The session model in {found} was not trained here: it may have learnt from what it is asked.")
    elif (found / MADE_FROM).read_text() != made_from:
        raise SettingsError(
            f"expected the session model in {found} to come from these sessions, items, settings and seed, "
            f"got one from others: give another --artifacts folder, or delete {found / SESSION_MODEL}"
        )
    return load_towers(found)


def _fingerprint(sessions: Sessions, items: Mapping[str, Item], training: TrainingSettings, seed: int) -> str:
    """Return what names a training: 16 hex digits."""
    told = xxhash.xxh3_64()
    for part in (sessions.items, sessions.codes, sessions.starts, sessions.ts_ms):
        told.update(np.ascontiguousarray(part).data)
    told.update("\n".join((*sessions.item_ids, training.model_dump_json(), str(seed))).encode())
    for item_id, item in items.items():
        told.update(f"\n{item_id} {item.model_dump_json()}".encode())
    return told.hexdigest()


def histories_of(sessions: Sessions) -> Histories:
    """Return the sessions as the session model's training takes them."""
    return Histories(
        item_ids=sessions.item_ids,
        items=sessions.items,
        codes=sessions.codes,
        starts=sessions.starts,
        ended_ms=sessions.ts_ms[sessions.starts[1:] - 1],
    )
