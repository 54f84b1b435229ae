"""Which user models there are, and what each learns from: the one list of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_matrix

from learning.users.catalogue_side import ItemSide
from learning.users.known import Knowing
from learning.users.lessons import Lessons
from learning.users.models import OwnItems, Profile, Space, UserModel
from learning.users.settings import ModelName, UserSettings
from learning.users.visits import Visits, moments_between
from session_model.torch_extra import expect_torch

__all__ = ["Lessons", "lessons_of", "user_model"]


def lessons_of(
    visits: Visits, knowing: Knowing, side: ItemSide, to_ms: int, settings: UserSettings, seed: int
) -> Lessons:
    """Return what may be learnt at a time: moments of visits that had ended by then, and visitors' clicks."""
    moments = moments_between(visits, 0, to_ms).sample(settings.moments, np.random.default_rng(seed))
    space = Space(knowing.vectors, knowing.has_vector)
    clicks = _clicks(visits, to_ms)
    return Lessons(knowing.of(moments), moments.targets, side, space, visits.user_count, clicks)


def user_model(
    name: ModelName, lessons: Lessons, settings: UserSettings, seed: int, show: Callable[[int, int], None]
) -> UserModel:
    """Return a model by name, trained where it learns anything. Raises SettingsError without the `train` extra."""
    if name == "own":
        return OwnItems()
    if name == "profile":
        return Profile(lessons.space, settings.profile_share)
    expect_torch()
    from learning.users import fitting

    trains: dict[ModelName, Callable[[], UserModel]] = {
        "tower": lambda: fitting.fit_tower(lessons, settings.hidden, settings, seed, show),
        "dense-tower": lambda: fitting.fit_tower(lessons, settings.dense, settings, seed, show),
        "als": lambda: fitting.fit_factors(lessons.clicks, settings, seed),
        "neumf": lambda: fitting.fit_neural_factors(lessons, settings, seed, show),
        "autoencoder": lambda: fitting.fit_autoencoder(lessons, settings, seed, show),
        "wide-deep": lambda: fitting.fit_wide_deep(lessons, settings, seed, show),
    }
    return trains[name]()


def _clicks(visits: Visits, to_ms: int) -> csr_matrix:
    """Return how often visitors (u,) clicked items (n,) in visits that had ended by a time."""
    sessions = visits.sessions
    owners = sessions.owners
    use = np.flatnonzero((visits.ended_ms < to_ms)[owners] & (visits.users[owners] >= 0))
    shape = visits.user_count, len(sessions.item_ids)
    ones = np.ones(len(use), np.float32)
    made = csr_matrix((ones, (visits.users[owners[use]], sessions.items[use])), shape=shape)
    made.sum_duplicates()
    return made
