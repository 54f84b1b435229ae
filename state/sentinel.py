"""The Redis that Sentinels call primary: asked before each connection, so that the next one follows a failover."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.retry import Retry
from redis.sentinel import Sentinel

from contracts.settings import RedisSettings
from state.slots import Address
from state.tls_options import tls_options


def primary_of(settings: RedisSettings) -> Address:
    """Return where the primary is. Raises redis.ConnectionError where no Sentinel knows."""
    timeout_s = settings.timeout_ms / 1000
    options: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "protocol": 2}
    if settings.sentinel_password:
        options["password"] = settings.sentinel_password
    if settings.is_tls:
        options |= {"ssl": True, **tls_options(settings)}
    asked = Sentinel(settings.seeds, sentinel_kwargs={**options, "retry": Retry(NoBackoff(), 0)})  # type: ignore[no-untyped-call]
    try:
        host, port = asked.discover_master(settings.service)  # type: ignore[no-untyped-call]
    finally:
        for one in asked.sentinels:
            one.close()
    return (host.decode() if isinstance(host, bytes) else str(host)), int(port)


def primary_options(settings: RedisSettings) -> dict[str, Any]:
    """Return what makes redis-py's connections go to the primary."""
    kind = _SecurePrimary if settings.is_tls else _Primary
    return {"connection_class": kind, "finds": lambda: primary_of(settings)}


class _Finding:
    """A connection that asks where to go each time it is made, and again when it is at a replica by now."""

    host: str
    port: int

    def __init__(self, *args: Any, finds: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._finds = finds

    def _connect(self) -> Any:
        self.host, self.port = self._finds()
        return super()._connect()  # type: ignore[misc]

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)  # type: ignore[misc]
        except redis.ReadOnlyError as error:
            self.disconnect()  # type: ignore[attr-defined]
            raise redis.ConnectionError("the primary is a replica now") from error


class _Primary(_Finding, Connection): ...


class _SecurePrimary(_Finding, SSLConnection): ...
