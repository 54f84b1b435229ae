"""Keys for tests of the door: made in the deployment's Redis, and waited for until a gateway follows them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from contracts.api_keys import Made, Scope, key_named, new_key, revoked, rotated
from contracts.settings import RedisSettings
from gateway.key_table import KEYS
from state.key_store import KeyStore
from tests.gateway.conftest import Client

PAGE = "https://shop.example"


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@contextmanager
def opened(redis: RedisSettings) -> Iterator[KeyStore]:
    store = KeyStore(redis)
    try:
        yield store
    finally:
        store.close()


def make_key(redis: RedisSettings, *scopes: Scope | str, origins: Sequence[str] = (), name: str = "test") -> Made:
    """Make a key; a public one where there are origins."""
    made = new_key(name, scopes, origins, public=bool(origins), now_ms=time.time_ns() // 1_000_000)
    with opened(redis) as store:
        store.change(lambda keys: ((made.key,), ()))
    return made


def revoke_key(redis: RedisSettings, key_id: str) -> None:
    with opened(redis) as store:
        store.change(lambda keys: ((revoked(key_named(keys, key_id), now_ms=1),), ()))


def rotate_key(redis: RedisSettings, key_id: str, overlap_ms: int, now_ms: int) -> Made:
    made: list[Made] = []
    with opened(redis) as store:

        def change(keys: Sequence[object]) -> tuple[tuple[object, ...], tuple[()]]:
            made[:] = [rotated(key_named(keys, key_id), overlap_ms, now_ms=now_ms)]  # type: ignore[arg-type]
            return (made[0].key,), ()

        store.change(change)  # type: ignore[arg-type]
    return made[0]


async def known(client: Client, *made: Made) -> None:
    """Wait until a gateway of this process knows keys."""
    app = client.app
    assert app is not None
    await settled(lambda: all(app[KEYS].find(one.text) is not None for one in made))


async def unknown(client: Client, made: Made) -> None:
    """Wait until a gateway of this process knows a key no more."""
    app = client.app
    assert app is not None
    await settled(lambda: app[KEYS].find(made.text) is None)


async def settled(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        await asyncio.sleep(0.005)
