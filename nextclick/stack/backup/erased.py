"""Erasures that a backup does not know of: read before it is restored, and carried out again after that."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from contracts.errors import SettingsError, StateUnavailable
from contracts.settings import RedisSettings
from nextclick.stack.backup.which_redis import is_embedded
from nextclick.stack.settings import StackSettings
from rights.erasure import Erasure, decode_erasure, encode_erasure
from rights.erasure_list import ErasureList, decode_list, encode_list
from state.erasure_list import NAME, read_list, write_list
from state.erasures import ErasureStore, put_all


def known_erasures(settings: StackSettings) -> ErasureList | None:
    """Return the erasures that are known beside the backup: of the list that settings name, else of the one in the
    folder that is replaced, and of another Redis that is. None where nothing is known.

    Raises SettingsError for a list of something else.
    """
    given, prefix = settings.erasure.list, settings.redis.prefix
    path = Path(given) if given else settings.stack.folder / NAME
    try:
        raw = read_list(path)
        listed = None if raw is None else decode_list(raw)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: expected the list of erasures: {error}") from error
    if given and listed is None:
        raise SettingsError(f"{path}: expected the list of erasures, found nothing: name it, or leave --erasures out")
    if listed is not None and listed.prefix != prefix:
        raise SettingsError(f"{path}: expected the erasures of {prefix!r}, got those of {listed.prefix!r}")
    if not is_embedded(settings):
        secret, here = _in_redis(settings.redis)
        if here:
            return (listed or ErasureList(prefix, "")).of(here, secret, 0)
    return listed


def erase_again(redis: RedisSettings, listed: ErasureList | None) -> int:
    """Put erasures that a restored Redis does not know as done into it, to be carried out again; returns how many."""
    _, here = _in_redis(redis)
    missing = [] if listed is None else listed.missing_in(here)
    if listed is not None and missing:
        put_all(redis, bytes.fromhex(listed.secret), {one.id: encode_erasure(one) for one in missing})
    return len(missing)


def keep_list(folder: Path, listed: ErasureList | None) -> None:
    """Let the list stay in the stack's folder. Raises OSError."""
    if listed is not None:
        write_list(folder / NAME, encode_list(listed))


def _in_redis(redis: RedisSettings) -> tuple[bytes, list[Erasure]]:
    store = ErasureStore(redis)
    found: list[Erasure] = []
    try:
        raws = list(store.all().values())
        for raw in raws:
            with suppress(ValueError):
                found.append(decode_erasure(raw))
        return (store.secret() if found else b""), found
    except StateUnavailable:
        return b"", []
    finally:
        store.close()
