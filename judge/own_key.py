"""The API key that the judge acts with where a gateway asks for one: made in Redis, when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from contracts.api_keys import ApiKey, Made, Scope, new_key, rotated, with_key
from contracts.errors import KeyRefused
from contracts.settings import RedisSettings
from state.key_store import Change, KeyStore

NAME: Final = "judge (its own)"


def own_key(redis: RedisSettings, clock_ms: Callable[[], int]) -> str:
    """Return the text of the judge's key, which has a new secret from now on. Raises StateUnavailable, and KeyRefused
    where an admin revoked it.
    """
    texts: list[str] = []

    def make(keys: Sequence[ApiKey]) -> Change:
        made, gone = made_of(keys, clock_ms())
        texts.append(made.text)
        return (made.key,), gone

    store = KeyStore(redis)
    try:
        store.change(make)
    finally:
        store.close()
    return texts[-1]


def made_of(keys: Sequence[ApiKey], now_ms: int) -> tuple[Made, list[ApiKey]]:
    """Return the judge's key, made or with another secret, and the keys to forget. Pure, but for its random bytes."""
    own = [key for key in keys if key.name == NAME]
    if any(key.revoked_ms is not None for key in own):
        raise KeyRefused(
            f"the key {NAME!r} was revoked: give the judge one of scope `catalogue` in NEXTCLICK_API_KEY, or turn "
            "`stop_on_guardrail` and `promote_winner` off"
        )
    if own:
        return rotated(own[0], 0, now_ms=now_ms), []
    made = new_key(NAME, (Scope.CATALOGUE,), public=False, now_ms=now_ms)
    return made, with_key(keys, made.key)
