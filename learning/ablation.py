"""Ablation: the pipeline without some of its sources or features, to see what each brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from contracts.errors import SettingsError
from learning.training_settings import RerankTrainingSettings
from rerank.features import FEATURES
from retrieval.sources import SWITCHES


@dataclass(frozen=True, slots=True)
class Ablation:
    """Features that are left out: their columns are made NaN, in training and when asked."""

    columns: tuple[int, ...] = ()

    def apply(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the feature rows (c, f) without the columns."""
        if not self.columns:
            return rows
        left = rows.copy()
        left[:, list(self.columns)] = np.nan
        return left


def without(settings: RerankTrainingSettings, names: Sequence[str]) -> tuple[RerankTrainingSettings, Ablation]:
    """Return the settings without the named sources, and the ablation of the named features.

    Raises SettingsError for a name that is neither.
    """
    unknown = [name for name in names if name not in SWITCHES and name not in FEATURES]
    if unknown:
        near = [name for one in unknown for name in get_close_matches(one, (*SWITCHES, *FEATURES))]
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise SettingsError(f"cannot leave out {unknown}: {meant}expected of {', '.join((*SWITCHES, *FEATURES))}")
    off = {SWITCHES[name]: 0 for name in names if name in SWITCHES}
    pipeline = settings.pipeline.model_copy(update=off)
    columns = tuple(FEATURES.index(name) for name in names if name in FEATURES)
    return settings.model_copy(update={"pipeline": pipeline}), Ablation(columns)
