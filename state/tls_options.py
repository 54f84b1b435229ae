"""How a connection of redis-py speaks TLS."""

from __future__ import annotations

from contracts.settings import RedisSettings


def tls_options(settings: RedisSettings) -> dict[str, str]:
    """Return how a connection of redis-py checks Redis's certificate and shows ours; nothing where no TLS is spoken."""
    if not settings.is_tls:
        return {}
    files = {
        "ssl_ca_certs": settings.tls_ca,
        "ssl_certfile": settings.tls_certificate,
        "ssl_keyfile": settings.tls_key,
    }
    return {name: path for name, path in files.items() if path}
