"""Whether a visitor consents: what an event or a request says, what its headers signal, what the user's document keeps.

Pure. A "no" from any of them holds; a "yes" of one never undoes the "no" of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

CONSENT: Final = "consent"
"""The key of a user's document."""
PERSONALISATION: Final = "personalisation"
GPC: Final = "Sec-GPC"
"""Global Privacy Control: https://www.w3.org/TR/gpc/."""
DNT: Final = "DNT"
"""Do Not Track, which browsers no longer send by themselves."""
_ON: Final = "1"


class Rules(NamedTuple):
    """`required`: who says nothing has not consented. `signals`: headers whose `1` is a no."""

    required: bool = False
    signals: tuple[str, ...] = ()


def is_given(said: bool | None, rules: Rules) -> bool:
    """Return whether what an event or a request says of itself is a consent."""
    return not rules.required if said is None else said


def is_signalled(headers: Mapping[str, str], rules: Rules) -> bool:
    """Return whether the headers of a request say no. `headers`: whatever their letters' case."""
    return any(headers.get(name, "").strip() == _ON for name in rules.signals)


def may_be_kept(document: object, rules: Rules) -> bool:
    """Return whether a decoded event that was refused may become a dead letter. One whose consent cannot be read may
    not: nobody knows what it was meant to say.
    """
    if not isinstance(document, dict):
        return not rules.required
    said = document.get(CONSENT)
    return is_given(said, rules) if said is None or isinstance(said, bool) else False


def refuses(document: Mapping[str, Any]) -> bool:
    """Return whether a user's document says that the user does not consent to personalisation."""
    part = document.get(CONSENT)
    return isinstance(part, Mapping) and part.get(PERSONALISATION) is False


def with_consent(document: Mapping[str, Any] | None, said: Mapping[str, bool], at_ms: int) -> dict[str, Any]:
    """Return a user's document with what was said put over what was said before, and when."""
    before = (document or {}).get(CONSENT)
    part = {**(before if isinstance(before, Mapping) else {}), **said, "at_ms": at_ms}
    return {**(document or {}), CONSENT: part}
