"""What a request knows of its user, from what Redis keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from contracts.users import Hidden, decode_user, hidden_of


class KnownUser(msgspec.Struct, frozen=True):
    """A user. `age` and `region` count where the request does not say."""

    document: Mapping[str, Any] = {}
    hidden: Hidden | None = None
    age: int | None = None
    region: str | None = None


NOBODY_KNOWN: Final = KnownUser()
"""A user of whom nothing is kept."""


def known_user(raw: bytes | None) -> KnownUser:
    """Return what a stored document says. Raises ValueError for one that cannot be read."""
    if raw is None:
        return NOBODY_KNOWN
    document = decode_user(raw)
    age, region = document.get("age"), document.get("region")
    if not isinstance(age, int | None) or not isinstance(region, str | None):
        raise ValueError(f"expected years and a text, got age {age!r:.20} and region {region!r:.20}")
    return KnownUser(document, hidden_of(document), age, region)
