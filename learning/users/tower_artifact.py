"""A trained user tower on disk: `<artifacts>/user_tower/`, a manifest and `.npy` arrays. No other module reads one.

A tower moves queries in the space of one session model's items, and is refused beside another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ArtifactError
from learning.users.models import Space, Tower
from session_model import artifact

USER_TOWER = "user_tower"
_OF, _SHARE = "session_model", "profile_share"


def save_tower(folder: Path, tower: Tower, session_model: int, created_from: Mapping[str, Any]) -> artifact.Manifest:
    """Write a tower that was trained beside the session model of that version. Raises OutputRefused."""
    layers: dict[str, NDArray[Any]] = {f"weight_{at}": weight for at, weight in enumerate(tower.weights)}
    layers |= {f"bias_{at}": bias for at, bias in enumerate(tower.biases)}
    beside: dict[str, NDArray[Any]] = {
        _OF: np.array([session_model], np.uint64),
        _SHARE: np.array([tower.share], np.float32),
    }
    return artifact.save(
        folder,
        kind=USER_TOWER,
        dim=tower.space.vectors.shape[1],
        arrays={**layers, **beside},
        created_from=created_from,
    )


def load_tower(folder: Path, space: Space, session_model: int) -> Tower:
    """Load a tower for the items of `space`. Raises ArtifactError, also for one of another session model."""
    manifest = artifact.read_manifest(folder, USER_TOWER)
    arrays = artifact.read_arrays(folder, manifest, tuple(manifest.arrays))
    if _OF not in arrays or _SHARE not in arrays:
        raise ArtifactError(f"{folder}: expected arrays {_OF} and {_SHARE}, got neither or one: train it again")
    of = int(arrays[_OF][0])
    if of != session_model:
        raise ArtifactError(
            f"{folder}: expected a user tower of session model {session_model:016x}, got one of {of:016x}: "
            "train it again beside this session model"
        )
    depth = sum(name.startswith("weight_") for name in arrays)
    weights = tuple(arrays[f"weight_{at}"] for at in range(depth))
    biases = tuple(arrays[f"bias_{at}"] for at in range(depth))
    return Tower(space, float(arrays[_SHARE][0]), weights, biases)
