"""What a request knows of its user, from what Redis keeps."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.left_out import LeftOutLog
from contracts.profiles import Profile, decode_profile
from contracts.settings import ProfileOptions
from contracts.users import Hidden, decode_user, hidden_of
from rerank.affinities import Learnt, weights_of
from rerank.heard import Heard
from rerank.said import Said, said_in, said_taste, with_said
from retrieval.catalogue import CatalogueColumns
from session_model.encoder import SessionEncoder
from session_model.profiles import taste
from state.sessions import View

log = logging.getLogger("nextclick.gateway")

PROFILE_UNAVAILABLE = "profile_unavailable"


class Document(msgspec.Struct, frozen=True):
    """What the site says. `age` and `region` count where the request does not say."""

    fields: Mapping[str, Any] = {}
    hidden: Hidden | None = None
    age: int | None = None
    region: str | None = None


class KnownUser(msgspec.Struct, frozen=True):
    """A user: what the site says, and what was learnt."""

    said: Document = Document()
    profile: Profile | None = None


NOBODY_KNOWN: Final = KnownUser()
"""A user of whom nothing is kept."""


class Taste(msgspec.Struct, frozen=True):
    """What was learnt of a user, and their unit vector (d,); None for what there is not. `is_learnt`: clicks are in the
    vector.
    """

    learnt: Learnt | None = None
    vector: NDArray[np.float32] | None = None
    is_learnt: bool = False


NO_TASTE: Final = Taste()


def document_in(raw: bytes | None) -> Document:
    """Return what a stored document says. Raises ValueError for one that cannot be read."""
    if raw is None:
        return NOBODY_KNOWN.said
    document = decode_user(raw)
    age, region = document.get("age"), document.get("region")
    if not isinstance(age, int | None) or not isinstance(region, str | None):
        raise ValueError(f"expected years and a text, got age {age!r:.20} and region {region!r:.20}")
    return Document(document, hidden_of(document), age, region)


def profile_in(raw: bytes | None) -> Profile | None:
    """Return a stored profile. Raises ValueError for one that cannot be read."""
    return None if raw is None else decode_profile(raw)


class Users:
    """What requests know of their users, and what profiles say by settings."""

    def __init__(self, options: ProfileOptions) -> None:
        self._half_life_ms = options.half_life_ms
        self._weights = weights_of(options.weights)
        self._left_out = LeftOutLog(log)
        self._heard = Heard()

    def known(self, user_id: str, view: View | None, degraded: list[str]) -> KnownUser:
        """Return what a view says of a user; what could not be had is told in `degraded`."""
        if view is None:
            degraded.append(PROFILE_UNAVAILABLE)
            return NOBODY_KNOWN
        said, profile, missing = NOBODY_KNOWN.said, None, False
        try:
            said = document_in(view.user)
        except ValueError as error:
            self._left_out.say(f"user {user_id!r}", error)
            missing = True
        try:
            profile = profile_in(view.profile)
        except ValueError as error:
            self._left_out.say(f"the profile of {user_id!r}", error)
            missing = True
        if missing:
            degraded.append(PROFILE_UNAVAILABLE)
        return KnownUser(said, profile)

    def said(self, document: Mapping[str, Any], columns: CatalogueColumns) -> Said | None:
        """Return what a document says of a taste, and what of it is unknown; None where it says nothing."""
        return said_in(document, columns, self._heard)

    def taste(self, user: KnownUser, encoder: SessionEncoder | None, columns: CatalogueColumns, now_ms: int) -> Taste:
        """Return what was learnt of a user, and their unit vector (d,) by that and by what they said."""
        profile = user.profile
        if encoder is None or user is NOBODY_KNOWN:
            return NO_TASTE if profile is None else Taste(self.learnt(profile))
        said = said_taste(self.said(user.said.fields, columns), columns, encoder.version)
        if profile is None:
            return Taste(None, said)
        found = taste(profile, encoder, columns, now_ms, self._half_life_ms)
        return Taste(self.learnt(profile), with_said(found, said, profile.events), found is not None)

    def learnt(self, profile: Profile) -> Learnt:
        """Return a profile, and how its clicks are weighed."""
        return Learnt(profile, self._weights, self._half_life_ms)

    def summary(self, user: KnownUser, columns: CatalogueColumns, now_ms: int) -> dict[str, Any] | None:
        """Return what an answer tells of a user, as a ProfileSummary's fields; None of whom nothing is known."""
        profile = user.profile
        found = self.said(user.said.fields, columns)
        said = found is not None and found.is_known
        if profile is None:
            return {"clicks": 0, "age_ms": None, "said": True} if said else None
        last_ms = int(profile.clicks["ts_ms"][-1]) if len(profile.clicks) else None
        age_ms = None if last_ms is None else max(0, now_ms - last_ms)
        return {"clicks": profile.events, "age_ms": age_ms, "said": said}
