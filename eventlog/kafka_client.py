"""Kafka clients for the event log: bounded in time, with one kind of error, and the topics they need.

kafka-python's own traps stay in here: a client whose constructor fails leaks its thread, so an address is tried first;
a producer that gave up on a record is replaced, because its sequence numbers may have a hole.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, TopicAlreadyExistsError

from contracts.errors import LogUnavailable, SettingsError
from contracts.settings import LogSettings
from eventlog.contract import Topic

CONNECT_S = 5.0
REQUEST_MS = 3000
TOPICS_MS = 30_000
"""How long making the topics may take, once in a deployment's life."""
DELIVERY_MS = 5000
"""How long a record may wait for its acknowledgement. Appends fail after about this long without a broker."""

DEAD_LETTERS = "dead"


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
        f"got {type(error).__name__}: {error}. Check that a broker runs and can be reached, then retry"
    )


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
    _try_addresses(servers)
    return {
        "bootstrap_servers": servers,
        "bootstrap_timeout_ms": REQUEST_MS,
        "request_timeout_ms": REQUEST_MS,
        "reconnect_backoff_max_ms": 1000,
    }


def _try_addresses(servers: list[str]) -> None:
    """Raise OSError when none of the servers takes a connection."""
    problem: OSError = OSError("no bootstrap server is named")
    for server in servers:
        host, _, port = server.rpartition(":")
        if not host or not port.isdigit():
            raise SettingsError(f"log.kafka: expected host:port, comma separated, got {server!r}")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
            return
        except OSError as error:
            problem = error
    raise problem


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
