"""A key for commands that start a stack of their own and call its gateway: made in that stack's Redis."""

from __future__ import annotations

import time

from contracts.api_keys import Scope, new_key
from contracts.clock import wall_clock_ms
from contracts.errors import StartupError
from nextclick.stack.client import Client, NoKey
from nextclick.stack.stack import Stack

KNOWN_S = 30.0
SCOPES = (Scope.EVENTS, Scope.RECOMMEND, Scope.CATALOGUE)


def take_own_key(stack: Stack) -> None:
    """Give the stack's clients (`api_key`) a key that its gateway takes; none where it asks for none."""
    if not stack.asks_keys:
        return
    from state.key_store import KeyStore

    made = new_key("its own commands", SCOPES, public=False, now_ms=wall_clock_ms())
    store = KeyStore(stack.running_settings.redis)
    try:
        store.change(lambda keys: ((made.key,), ()))
    finally:
        store.close()
    _wait_until_known(stack, made.text)
    stack.api_key = made.text


def _wait_until_known(stack: Stack, key: str) -> None:
    """Return once the gateway takes the key. Raises StartupError where it does not within KNOWN_S."""
    until = time.monotonic() + KNOWN_S
    with Client(stack.url, key=key) as client:
        while True:
            try:
                client.send_events([])
                return
            except NoKey as error:
                if time.monotonic() > until:
                    raise StartupError(f"the gateway does not take a key of its own Redis: {error}") from error
            time.sleep(0.02)
