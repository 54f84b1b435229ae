"""Which Redis a deployment's state is in: the stack's own, running or not, or another by its address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contracts.errors import SettingsError, StartupError
from contracts.settings import RedisSettings
from nextclick.stack.settings import OWN_REDIS, StackSettings
from nextclick.stack.stack import lock_folder
from nextclick.stack.stack_folder import LOCK
from state.embedded import ADDRESS, CONFIG, Answer, EmbeddedRedis, answer_of

REDIS = "redis"


def is_embedded(settings: StackSettings) -> bool:
    """Tell whether the state is in the stack's own Redis: it has one, and no other address was given."""
    return settings.stack.embedded_redis and "url" not in settings.redis.model_fields_set


def expect_one_redis(settings: StackSettings, *, folder: Path | None, redis: str | None, new: bool = False) -> None:
    """Raise SettingsError where options and environment name two: a stack's folder with a Redis of its own was given
    (or one that is to be made, `new`), no address, and the environment or the TOML file has one.
    """
    if folder is None or redis is not None or not settings.stack.embedded_redis or is_embedded(settings):
        return
    own = settings.stack.folder / REDIS / CONFIG
    if not (new or own.is_file()) or own_address(settings) == settings.redis.url:
        return
    there = "whose stack has a Redis of its own" if own.is_file() else "whose stack would have a Redis of its own"
    raise SettingsError(
        f"expected one Redis, got two: --folder {folder}, {there}, and NEXTCLICK_REDIS__URL, which is "
        f"{settings.redis.place}. For that of the folder: unset NEXTCLICK_REDIS__URL. For the other: name it with "
        "--redis, too"
    )


def own_address(settings: StackSettings) -> str | None:
    """Return the address of the stack's own Redis, as its folder tells it; None where there is none."""
    with suppress(OSError, UnicodeDecodeError):
        return (settings.stack.folder / REDIS / ADDRESS).read_text().strip()
    return None


@contextmanager
def redis_of(settings: StackSettings) -> Iterator[RedisSettings]:
    """Give the Redis that holds a deployment's state. The stack's own is started for as long when the stack is down.

    Raises StartupError where there is no stack, or its Redis does not answer.
    """
    if not is_embedded(settings):
        yield settings.redis
        return
    folder = settings.stack.folder
    if not (folder / LOCK).is_file():
        raise StartupError(
            f"expected a stack's folder at {folder}, found none: name it with --folder, or its Redis with --redis"
        )
    address = own_address(settings)
    if address is not None and answer_of(address, timeout_s=2.0) is not Answer.NO:
        yield _at(settings, address)
        return
    lock = lock_folder(folder)  # nobody starts it meanwhile
    try:
        with EmbeddedRedis(folder.absolute() / REDIS) as server:
            yield _at(settings, server.url)
    finally:
        lock.close()


def _at(settings: StackSettings, url: str) -> RedisSettings:
    return settings.redis.model_copy(update={**OWN_REDIS, "url": url})


def stack_is_running(folder: Path) -> bool:
    """Tell whether a stack runs in a folder."""
    if not (folder / LOCK).is_file():
        return False
    try:
        lock_folder(folder).close()
    except StartupError:
        return True
    return False
