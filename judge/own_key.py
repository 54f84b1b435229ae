"""The API key that a process of ours, such as the judge, acts with where a gateway asks for one: made in Redis when it
is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from contracts.api_keys import ApiKey, Made, Scope, new_key, rotated, with_key
from contracts.errors import KeyRefused
from contracts.settings import RedisSettings
from state.key_store import Change, KeyStore

NAME: Final = "judge (its own)"


def own_key(redis: RedisSettings, clock_ms: Callable[[], int], name: str = NAME) -> str:
    """Return the text of the key of this name, which has a new secret from now on. Raises StateUnavailable, and
    KeyRefused where an admin revoked it.
    """
    texts: list[str] = []

    def make(keys: Sequence[ApiKey]) -> Change:
        made, gone = made_of(keys, clock_ms(), name)
        texts.append(made.text)
        return (made.key,), gone

    store = KeyStore(redis)
    try:
        store.change(make)
    finally:
        store.close()
    return texts[-1]


def made_of(keys: Sequence[ApiKey], now_ms: int, name: str = NAME) -> tuple[Made, list[ApiKey]]:
    """Return the key of this name, made or with another secret, and the keys to forget. Pure but for random bytes."""
    own = [key for key in keys if key.name == name]
    if any(key.revoked_ms is not None for key in own):
        instead = ", or turn `stop_on_guardrail` and `promote_winner` off" if name == NAME else ""
        who = "the judge" if name == NAME else "it"
        raise KeyRefused(
            f"the key {name!r} was revoked: give {who} one of scope `catalogue` in NEXTCLICK_API_KEY{instead}"
        )
    if own:
        return rotated(own[0], 0, now_ms=now_ms), []
    made = new_key(name, (Scope.CATALOGUE,), public=False, now_ms=now_ms)
    return made, with_key(keys, made.key)
