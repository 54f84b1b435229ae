"""Who else answers on this gateway's port. Processes of one deployment share it; the kernel deals requests out among
whoever listens, so a process of another one would mix two shops' answers.
"""

from __future__ import annotations

import http.client
import ssl
from contextlib import closing
from typing import Final

import orjson
import xxhash

from contracts.errors import SettingsError
from contracts.tls import unchecked_context
from gateway.settings import GatewaySettings

_WAIT_S: Final = 2.0
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def deployment_of(settings: GatewaySettings) -> str:
    """Return what processes are known by that serve the same tables from the same log: 16 hex digits."""
    log, redis = settings.log, settings.redis
    where = (redis.place, redis.prefix, log.kind, *((log.kafka, log.topic_prefix) if log.kind == "kafka" else ()))
    return xxhash.xxh3_64_hexdigest(repr(where).encode())


def expect_same_deployment(settings: GatewaySettings) -> None:
    """Raise SettingsError where somebody else answers on the port: another deployment, or no gateway at all. Nobody may
    answer.
    """
    host, port = settings.gateway.host, settings.gateway.port
    there, tls = _ANY.get(host, host), bool(settings.gateway.tls_certificate)
    found = _who_answers(there, port, tls=tls)
    if found is None and _who_answers(there, port, tls=not tls) is not None:
        found = _who_answers(there, port, tls=tls)  # it may be one of ours that has begun to listen meanwhile
        found = "" if found is None else found  # or one that speaks TLS where we do not, or the other way round
    if found is None or found == deployment_of(settings):
        return
    got = f"deployment {found}" if found else "an answer of something else"
    raise SettingsError(
        f"{host}:{port}: expected a free port, or one of this deployment ({settings.redis.place}, prefix "
        f"{settings.redis.prefix!r}), got {got}: set NEXTCLICK_GATEWAY__PORT to another, or end what runs there"
    )


def _who_answers(host: str, port: int, *, tls: bool) -> str | None:
    """Return the deployment that answers, empty for something that is none, None where nobody does."""
    with closing(_connection(host, port, tls=tls)) as connection:
        try:
            connection.request("GET", "/healthz")
            answer = orjson.loads(connection.getresponse().read(4096))
        except ssl.SSLError:
            return ""
        except OSError:  # nobody listens, or nobody answers in time: it may be one of ours that is starting
            return None
        except (http.client.HTTPException, ValueError):
            return ""
    found = answer.get("deployment") if isinstance(answer, dict) else None
    return found if isinstance(found, str) else ""


def _connection(host: str, port: int, *, tls: bool) -> http.client.HTTPConnection:
    if tls:
        return http.client.HTTPSConnection(host, port, timeout=_WAIT_S, context=unchecked_context())
    return http.client.HTTPConnection(host, port, timeout=_WAIT_S)
