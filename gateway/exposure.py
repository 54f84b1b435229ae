"""Who may reach this gateway: nobody from another machine without a key, unless a setting says so."""

from __future__ import annotations

from contextlib import suppress

from contracts.addresses import is_loopback
from contracts.errors import StateUnavailable, Unguarded
from contracts.settings import RedisSettings
from gateway.settings import OPEN_TO_ANYONE, GatewayOptions
from state.key_store import KeyStore


def expect_guarded(options: GatewayOptions, redis: RedisSettings) -> None:
    """Refuse to listen on an address that others reach while there is no key. Raises Unguarded.

    Where Redis does not answer it is not known whether there is one: nobody gets in without, so that is no danger.
    """
    if options.keys != "auto" or is_loopback(options.host):
        return
    store = KeyStore(redis)
    try:
        with suppress(StateUnavailable):
            if not any(key.revoked_ms is None for key in store.listed()):
                raise Unguarded(_no_key(options.host))
    finally:
        store.close()


def _no_key(host: str) -> str:
    return (
        f"listening on {host or 'all addresses'}, which other machines reach: expected an API key, found none. Make "
        "one with `nextclick keys create`; or set NEXTCLICK_GATEWAY__KEYS=required to start all the same and make it "
        f"then; or NEXTCLICK_GATEWAY__KEYS={OPEN_TO_ANYONE}, and whoever reaches the port may send events, ask, and "
        "write the catalogue"
    )
