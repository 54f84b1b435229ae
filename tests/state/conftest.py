"""These tests hold on every Redis that is supported: each that asks one runs on a server of each family there is."""

from __future__ import annotations

from tests.redis_servers import redis_by_family, redis_family, redis_server

__all__ = ["redis_by_family", "redis_family", "redis_server"]
