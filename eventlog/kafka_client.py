"""Kafka clients for the event log: bounded in time, with one kind of error, and the topics they need.

kafka-python's own traps stay in here: a client whose constructor fails leaks its thread, so an address is tried first;
a producer that gave up on a record is replaced, because its sequence numbers may have a hole.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, TopicAlreadyExistsError

from contracts.errors import LogUnavailable, SettingsError
from contracts.settings import LogSettings
from contracts.tls import client_context
from contracts.tls_advice import tls_advice
from eventlog.contract import Topic

CONNECT_S = 5.0
_REFUSED_S = 0.2
REQUEST_MS = 3000
TOPICS_MS = 30_000
"""How long making the topics may take, once in a deployment's life."""
DELIVERY_MS = 5000
"""How long a record may wait for its acknowledgement. Appends fail after about this long without a broker."""

DEAD_LETTERS = "dead"

_SECURITY = "NEXTCLICK_LOG__KAFKA and NEXTCLICK_LOG__KAFKA_SECURITY"
_USER = "NEXTCLICK_LOG__KAFKA_USER with its _PASSWORD and _MECHANISM"
_CA = "NEXTCLICK_LOG__KAFKA_TLS_CA"
_CERTIFICATE = "NEXTCLICK_LOG__KAFKA_TLS_CERTIFICATE and NEXTCLICK_LOG__KAFKA_TLS_KEY"


def topic_name(log: LogSettings, topic: str) -> str:
    """Return the Kafka topic's name."""
    return f"{log.topic_prefix}{topic}"


@contextmanager
def telling(log: LogSettings, what: str) -> Iterator[None]:
    """Turn every failure of Kafka into LogUnavailable."""
    try:
        yield
    except (KafkaError, OSError) as error:
        raise unavailable(log, what, error) from error


def unavailable(log: LogSettings, what: str, error: BaseException) -> LogUnavailable:
    """Return the error that says what could not be done, where, and what to do."""
    return LogUnavailable(
        f"could not {what}: expected an answer from Kafka at {log.kafka} within {DELIVERY_MS} ms, "
        f"got {type(error).__name__}: {error}. {_advice(log, error)}, then retry"
    )


def _advice(log: LogSettings, error: BaseException) -> str:
    if tls := tls_advice(error, address=_SECURITY, ca=_CA, certificate=_CERTIFICATE):
        return f"Of the broker: {tls}"
    if log.kafka_is_sasl and isinstance(error, KafkaError):  # it took the connection; kafka-python tells no more
        return f"Check that it is a broker, and that it knows {_USER}, and {_SECURITY}"
    return "Check that a broker runs and can be reached"


def new_producer(log: LogSettings) -> KafkaProducer:
    """Return a producer that acknowledges only what all in-sync replicas hold, once and in order."""
    return KafkaProducer(
        **_options(log),
        metrics_enabled=False,
        acks="all",
        enable_idempotence=True,
        delivery_timeout_ms=DELIVERY_MS,
        max_block_ms=REQUEST_MS,
        allow_auto_create_topics=False,
    )


def new_consumer(log: LogSettings, group: str | None) -> KafkaConsumer:
    """Return a consumer for partitions assigned by hand: no rebalancing, no automatic commits or resets."""
    return KafkaConsumer(
        **_options(log),
        metrics_enabled=False,
        group_id=f"{log.topic_prefix}{group}" if group else None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        check_crcs=False,  # TCP and the broker check already, and in Python it costs more than all the rest
        max_partition_fetch_bytes=4 * 1024 * 1024,
        allow_auto_create_topics=False,
    )


def _options(log: LogSettings) -> dict[str, Any]:
    servers = [server.strip() for server in log.kafka.split(",")]
    tls = _tls(log)
    _try_addresses(servers, tls)
    return {
        "bootstrap_servers": servers,
        "bootstrap_timeout_ms": REQUEST_MS,
        "request_timeout_ms": REQUEST_MS,
        "reconnect_backoff_max_ms": 1000,
        "security_protocol": log.kafka_security,
        **({"ssl_context": tls} if tls else {}),
        **(_sasl(log) if log.kafka_is_sasl else {}),
    }


def _tls(log: LogSettings) -> ssl.SSLContext | None:
    """Return how we connect with TLS, its files as they are now. Raises OSError for files that cannot be loaded."""
    if not log.kafka_is_tls:
        return None
    try:
        return client_context(log.kafka_tls_ca, log.kafka_tls_certificate, log.kafka_tls_key)
    except ValueError as error:  # they could, when the process began
        raise OSError(str(error)) from error


def _sasl(log: LogSettings) -> dict[str, str]:
    return {
        "sasl_mechanism": log.kafka_mechanism,
        "sasl_plain_username": log.kafka_user,
        "sasl_plain_password": log.kafka_password,
    }


def _try_addresses(servers: list[str], tls: ssl.SSLContext | None) -> None:
    """Raise OSError when none of the servers takes a connection, or what kafka-python would only log: none has a
    certificate that we trust.
    """
    problem: OSError = OSError("no bootstrap server is named")
    for server in servers:
        host, _, port = server.rpartition(":")
        if not host or not port.isdigit():
            raise SettingsError(f"log.kafka: expected host:port, comma separated, got {server!r}")
        try:
            _try_address(host.strip("[]"), int(port), tls)
            return
        except OSError as error:
            problem = error
    raise problem


def _try_address(host: str, port: int, tls: ssl.SSLContext | None) -> None:
    with socket.create_connection((host, port), timeout=CONNECT_S) as connection:
        if tls is None:
            return
        with tls.wrap_socket(connection, server_hostname=host) as spoken:
            spoken.settimeout(_REFUSED_S)
            with suppress(TimeoutError):  # a broker that refuses our certificate says so after the handshake
                if not spoken.recv(1):
                    raise ConnectionResetError(f"{host}:{port} closed the connection")


def found_topics(log: LogSettings) -> dict[str, int]:
    """Return the partitions of each topic of a deployment, 0 of one that is missing. Raises LogUnavailable."""
    wanted = sorted(topic_name(log, topic) for topic in (*Topic, DEAD_LETTERS))
    with telling(log, "look at the topics"), KafkaAdminClient(**_options(log)) as admin:
        existing = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
    return {name: existing.get(name, 0) for name in wanted}


def ensure_topics(log: LogSettings) -> None:
    """Create the topics that are missing. Raises SettingsError when one has another partition count."""
    wanted = {topic_name(log, topic) for topic in (*Topic, DEAD_LETTERS)}
    with telling(log, "look at the topics"):
        options = _options(log) | {"request_timeout_ms": TOPICS_MS}
        with KafkaAdminClient(**options) as admin:
            existing = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
            missing = sorted(wanted - existing.keys())
            if missing:
                _create(admin, log, missing)
                existing |= {t["name"]: len(t["partitions"]) for t in admin.describe_topics(missing)}
    for name in sorted(wanted):
        if existing[name] != log.partitions:
            raise SettingsError(
                f"Kafka topic {name}: expected {log.partitions} partitions (log.partitions), it has {existing[name]}: "
                "set log.partitions to what the topics have, or use another log.topic_prefix"
            )


def _create(admin: KafkaAdminClient, log: LogSettings, names: list[str]) -> None:
    with suppress(TopicAlreadyExistsError):  # another process was first with some; the rest was carried out
        admin.create_topics({name: {"num_partitions": log.partitions} for name in names}, timeout_ms=TOPICS_MS)
    admin.wait_for_topics(names, timeout_ms=TOPICS_MS)
