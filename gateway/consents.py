"""Who did not consent, as this process knows it; and questions of such visitors, without a name that could be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from contracts.plain_events import PlainEvent
from contracts.sessions import Session
from gateway.question import Question
from gateway.replica import Rows
from rights.consent import Rules, is_given, is_signalled, may_be_kept, refuses
from state.refusals import ROW, refusal_key


class Refusals:
    """Users who refused, by `refusal_key`: followed as a table."""

    def __init__(self) -> None:
        self._keys: set[int] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def holds(self, user_id: str | None) -> bool:
        """Return whether a user refused. Costs nothing where nobody did."""
        return bool(self._keys) and user_id is not None and refusal_key(user_id) in self._keys

    def held(self) -> Iterable[int]:
        """Return the row keys."""
        return list(self._keys)

    def apply(self, rows: Rows) -> None:
        """Take rows in. A row that is none counts as a refusal, and raises ValueError."""
        for key, row in rows:
            if row is None:
                self._keys.discard(key)
                continue
            self._keys.add(key)
            if row != ROW:
                raise ValueError(f"expected a refusal, {ROW!r}, got {row!r:.40}")


class Consents:
    """What the settings say of consent, and who refused."""

    def __init__(self, rules: Rules, refusals: Refusals) -> None:
        self._rules, self._refusals = rules, refusals
        self._signals = bool(rules.signals)

    def given(self, said: bool | None, user_id: str | None, headers: Mapping[str, str]) -> bool:
        """Return whether a request may be answered by what is kept, and something be kept of it, as far as that is
        known before anything is read.
        """
        if not is_given(said, self._rules) or self._refusals.holds(user_id):
            return False
        return not (self._signals and is_signalled(headers, self._rules))

    def refused(self, headers: Mapping[str, str]) -> Callable[[PlainEvent], bool]:
        """Return what tells of the events of one request which are not to be kept."""
        if self._signals and is_signalled(headers, self._rules):
            return lambda event: True
        rules, refusals = self._rules, self._refusals
        if not len(refusals) and not rules.required:
            return _says_no
        return lambda event: not is_given(event.consent, rules) or refusals.holds(event.user_id)

    def may_be_kept(self, document: Any, headers: Mapping[str, str]) -> bool:
        """Return whether a decoded event that cannot be taken may become a dead letter."""
        if self._signals and is_signalled(headers, self._rules):
            return False
        user_id = document.get("user_id") if isinstance(document, dict) else None
        if isinstance(user_id, str) and self._refusals.holds(user_id):
            return False
        return may_be_kept(document, self._rules)

    def withdrew(self, document: Mapping[str, Any], session: Session | None) -> bool:
        """Return whether what is kept of a visitor says that it is not to be used: the user's document, or the user
        whose session it is.
        """
        return refuses(document) or (session is not None and self._refusals.holds(session.user_id))


CONSENTS = web.AppKey("consents", Consents)
REFUSALS = web.AppKey("refusals", Refusals)


def without_consent(question: Question) -> Question:
    """Return a question that names nobody: whatever is done for it, there is no id to keep. Its cursor is still that of
    the session that asked: it is signed, and kept by the client.
    """
    asked = question.asked
    return replace(
        question,
        asked=replace(asked, session_id="", user_id=None),
        kept=False,
        listed_for=asked.session_id,
    )


def _says_no(event: PlainEvent) -> bool:
    return event.consent is False
