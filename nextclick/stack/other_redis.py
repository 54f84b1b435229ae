"""A Redis that is not the stack's own: waited for by name, before anything is started that would wait for it."""

from __future__ import annotations

import logging
import time

from contracts.errors import StartupError, StateUnavailable
from contracts.settings import RedisSettings
from state.key_store import KeyStore

log = logging.getLogger(__name__)
_PAUSE_S = 0.25


def await_redis(settings: RedisSettings, timeout_s: float) -> None:
    """Return once it answers; say once what is waited for. Raises StartupError when it has not by then."""
    until, told = time.monotonic() + timeout_s, False
    store = KeyStore(settings)
    try:
        while True:
            try:
                store.listed()
                return
            except StateUnavailable as error:
                if time.monotonic() > until:
                    raise StartupError(f"no answer in {timeout_s:g} s: {error}") from error
                if not told:
                    log.warning("waiting up to %g s: %s", timeout_s, error)
                told = True
                time.sleep(_PAUSE_S)
    finally:
        store.close()
