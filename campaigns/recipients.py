"""Whom a campaign may pick for: recipients as an audience names them, and reasons for which one is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

LONGEST: Final = 256
"""Characters of a user id, a session id and an item id."""
MOST_REGION, MOST_CATEGORY, MOST_AGE = 64, 300, 150
_TEXTS: Final = {
    "session_id": LONGEST,
    "item_id": LONGEST,
    "region": MOST_REGION,
    "category": MOST_CATEGORY,
    "device": 64,
}
COLUMNS: Final = ("user_id", *_TEXTS, "age")
"""Columns of an audience that say something here. All others pass unread."""
_CONTEXT: Final = ("region", "age", "category", "device")


class Skip(StrEnum):
    """Why nothing was picked for a user."""

    INVALID = "invalid"
    """The row is none: without a user id, or with a field that no request may have."""
    REPEATED = "repeated"
    """The user stands in an earlier row."""
    SUPPRESSED = "suppressed"
    OUTSIDE = "outside_filter"
    CONSENT = "consent"
    CAP = "cap"
    """As many campaigns wrote to the user as the cap allows."""
    PLACEMENT_CAP = "placement_cap"
    """The scenario's placement has a frequency cap of its own (`gateway.caps`), and it is reached."""
    EMPTY = "nothing_to_show"
    """The rules left no item."""


class ConsentRule(StrEnum):
    """Which users may be written to, by `consent.marketing` of their documents."""

    UNLESS_REFUSED = "unless-refused"
    REQUIRED = "required"


class Recipient(NamedTuple):
    """A row of an audience: the request that is made for it."""

    user_id: str
    session_id: str | None = None
    item_id: str | None = None
    context: Mapping[str, Any] | None = None


def recipient_of(row: Mapping[str, object]) -> Recipient:
    """Return the recipient that a row names; an empty cell is none. Raises ValueError with what was expected."""
    user_id = _text(row.get("user_id"), "user_id", LONGEST)
    if user_id is None:
        raise ValueError("user_id: expected 1 to 256 characters, got none")
    texts = {name: _text(row.get(name), name, most) for name, most in _TEXTS.items()}
    said: dict[str, object] = {**texts, "age": _age(row.get("age"))}
    context = {name: said[name] for name in _CONTEXT if said[name] is not None}
    return Recipient(user_id, texts["session_id"], texts["item_id"], context or None)


def _text(value: object, name: str, most: int) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # ids that a table holds as numbers
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{name}: expected 1 to {most} characters, got {value!r:.60}")
    return value


def _age(value: object) -> int | None:
    if value is None or value == "":
        return None
    try:
        age = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else -1
    except ValueError:
        age = -1
    if not 0 <= age <= MOST_AGE:
        raise ValueError(f"age: expected whole years from 0 to {MOST_AGE}, got {value!r:.20}")
    return age


def once_each(recipients: Iterable[Recipient | Skip], suppressed: frozenset[str]) -> Iterator[Recipient | Skip]:
    """Yield each user's first row; for a further one, and for who is on a suppression list, why it is left out."""
    met = set[str]()
    for one in recipients:
        if isinstance(one, Skip):
            yield one
        elif one.user_id in met:
            yield Skip.REPEATED
        else:
            met.add(one.user_id)
            yield Skip.SUPPRESSED if one.user_id in suppressed else one


def consents(document: Mapping[str, Any], rule: ConsentRule) -> bool:
    """Tell whether a user's document allows marketing. `"consent": {"marketing": false}` refuses under either rule."""
    said = document.get("consent")
    marketing = said.get("marketing") if isinstance(said, Mapping) else None
    return marketing is True if rule is ConsentRule.REQUIRED else marketing is not False
