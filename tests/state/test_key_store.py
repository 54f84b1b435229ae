"""API keys in a real Redis: changed by several at once, followed as a table, damaged rows left out."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from contracts import keys as redis_keys
from contracts.api_keys import ApiKey, Made, key_named, new_key, revoked, rotated
from contracts.errors import KeyRefused
from contracts.settings import RedisSettings
from state.key_store import KeyStore
from state.tables import TableWriter


@pytest.fixture
def store(redis_settings: RedisSettings) -> Iterator[KeyStore]:
    opened = KeyStore(redis_settings)
    yield opened
    opened.close()


def made(store: KeyStore, name: str, now_ms: int = 0) -> Made:
    one = new_key(name, ["events"], public=False, now_ms=now_ms)
    store.change(lambda keys: ((one.key,), ()))
    return one


def test_keys_are_listed_in_the_order_of_their_making(store: KeyStore) -> None:
    assert store.listed() == []
    later, sooner = made(store, "later", 2), made(store, "sooner", 1)
    assert store.listed() == [sooner.key, later.key]


def test_a_refused_change_changes_nothing(store: KeyStore) -> None:
    one = made(store, "one")
    with pytest.raises(KeyRefused):
        store.change(lambda keys: ((rotated(key_named(keys, "two"), 0, now_ms=1).key,), ()))
    assert store.listed() == [one.key]


def test_a_rotation_that_meets_a_revocation_does_not_bring_the_key_back(
    store: KeyStore, redis_settings: RedisSettings
) -> None:
    one, other = made(store, "one"), KeyStore(redis_settings)
    revocations = 0

    def rotate(keys: list[ApiKey]) -> tuple[tuple[ApiKey, ...], tuple[()]]:
        nonlocal revocations
        if not revocations:  # somebody else is quicker
            revocations += 1
            other.change(lambda found: ((revoked(key_named(found, one.key.id), now_ms=5),), ()))
        return (rotated(key_named(keys, one.key.id), 0, now_ms=6).key,), ()

    with pytest.raises(KeyRefused, match="revoked"):
        store.change(rotate)  # type: ignore[arg-type]
    other.close()
    [found] = store.listed()
    assert (found.revoked_ms, found.secrets) == (5, ())


def test_keys_made_at_once_are_all_kept(redis_settings: RedisSettings) -> None:
    def make(number: int) -> None:
        mine = KeyStore(redis_settings)
        made(mine, f"key-{number}")
        mine.close()

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = KeyStore(redis_settings)
    assert sorted(key.name for key in store.listed()) == [f"key-{number}" for number in range(4)]
    store.close()


def test_a_row_that_is_no_key_is_left_out_alone(store: KeyStore, redis_settings: RedisSettings) -> None:
    one = made(store, "one")
    writer = TableWriter(redis_settings, redis_keys.API_KEYS)
    writer.commit({b"12345678": b"damaged"})
    writer.close()
    assert store.listed() == [one.key]
