"""What the `nextclick keys` commands share: the store of a deployment, and the line that each change leaves."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.clock import wall_clock_ms
from contracts.errors import StateUnavailable
from nextclick.stack.options import setting_option
from nextclick.stack.settings import StackSettings, with_given

if TYPE_CHECKING:
    from contracts.settings import RedisSettings
    from state.key_store import KeyStore

Redis = Annotated[str | None, setting_option("redis.url", "--redis", help="Redis of the deployment.")]
Name = Annotated[str, typer.Argument(help="The key, by the id or name that `list` shows.")]


def redis_of(redis: str | None) -> RedisSettings:
    """Return where the deployment's Redis is."""
    return with_given(StackSettings(), {"redis.url": redis}).redis


@contextmanager
def keys_of(redis: RedisSettings) -> Iterator[KeyStore]:
    """Open the keys of a deployment."""
    from state.key_store import KeyStore

    store = KeyStore(redis)
    try:
        yield store
    except StateUnavailable as error:
        raise StateUnavailable(f"{error}{_where_else()}") from error
    finally:
        store.close()


def note(redis: RedisSettings, what: str) -> None:
    """Write what this command has done into the audit log. Raises StateUnavailable."""
    from state.audit import ADMIN, AuditLog, Entry, expect_written

    audit = AuditLog(redis)
    try:
        expect_written(audit, ADMIN, Entry(wall_clock_ms(), _who(), what, "command line", "done"))
    finally:
        audit.close()


def _where_else() -> str:
    """Return where the Redis of `nextclick up` is, if one was here and the settings name none."""
    from state.embedded import ADDRESS

    settings = StackSettings()
    address = settings.stack.folder / "redis" / ADDRESS
    if "url" in settings.redis.model_fields_set or not address.is_file():
        return ""
    return f"; for the Redis of `nextclick up` set NEXTCLICK_REDIS__URL=$(cat {address})"


def _who() -> str:
    """Return user and machine, as far as they are known."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = "?"
    return f"{user}@{socket.gethostname()}"
