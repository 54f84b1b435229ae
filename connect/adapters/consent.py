"""What payloads say of consent to personalisation: Google's consent mode, Segment's categories. True, False, or None
where they do not say. Nothing here raises: what cannot be read says nothing.

Sources: Google's reference of consent mode and of the Measurement Protocol's `consent`, the schema of the BigQuery
export, and Segment's specification of `context.consent`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_GRANTED: Final = frozenset(("granted", "yes", "true"))
_DENIED: Final = frozenset(("denied", "no", "false"))
_GCS: Final = re.compile(r"G1[01-]([01-])")
"""`gcs` of a hit: G1, advertising, analytics."""
_PERSONAL: Final = "personal"
_ANALYTICS: Final = "analytics"


def google(*said: object) -> bool | None:
    """Return what consent types of Google say, wherever they stand: objects of a type and `granted` or `denied`.

    A denied `personalization_storage` or `analytics_storage` is a no: the first is about recommendations, without the
    second nothing may be kept of what a visitor does. `ad_personalization` decides where `personalization_storage` is
    not told, as the Measurement Protocol has no other. `ad_storage` and `ad_user_data` are not about us.
    """
    found: dict[str, bool] = {}
    for one in said:
        for name, value in one.items() if isinstance(one, Mapping) else ():
            if (read := _read(value)) is not None:
                found[str(name)] = found.get(str(name), True) and read
    decides = found.get("personalization_storage", found.get("ad_personalization"))
    return False if found.get("analytics_storage") is False else decides


def google_state(value: object) -> Mapping[str, str]:
    """Return the consent types that a `gcs` tells of: `G101` grants analytics, `G100` denies it."""
    found = _GCS.fullmatch(value) if isinstance(value, str) else None
    words = {"1": "granted", "0": "denied"}
    return {"analytics_storage": words[found[1]]} if found is not None and found[1] in words else {}


def segment(said: object) -> bool | None:
    """Return what `context.consent` says: its category of personalisation, else that of analytics where it is denied,
    else no where every category is denied. Shops name categories themselves; names such as `C0002` say nothing alone.
    """
    preferences = said.get("categoryPreferences") if isinstance(said, Mapping) else None
    if not isinstance(preferences, Mapping):
        return None
    found = {str(name).lower(): value for name, value in preferences.items() if isinstance(value, bool)}
    personal = [value for name, value in found.items() if _PERSONAL in name]
    if personal:
        return all(personal)
    denied = [name for name, value in found.items() if not value]
    if found and (len(denied) == len(found) or any(_ANALYTICS in name for name in denied)):
        return False
    return None


def part_of(value: Any, *names: str) -> Any:
    """Return what stands under names, one in the other; None where that is nothing."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _read(value: object) -> bool | None:
    word = value.strip().lower() if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else ""
    return True if word in _GRANTED else False if word in _DENIED else None
