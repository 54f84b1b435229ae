"""Kafka with TLS and passwords: every way that the settings offer, and what is said where it is not the broker's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.errors import LogUnavailable
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Topic
from eventlog.open_log import open_async_writer, open_dead_letters, open_reader, open_writer
from tests.certificates import Certificates
from tests.eventlog.logs import ALL, clicks, read_all
from tests.kafka_tls import PASSWORD, TlsKafka

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.usefixtures("sockets_left"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # kafka-python's sockets
]
REDIS = RedisSettings()


@pytest.mark.parametrize(
    ("listener", "more"),
    [
        ("tls", {}),
        ("strict", {}),
        ("users", {"kafka_mechanism": "PLAIN"}),
        ("users", {"kafka_mechanism": "SCRAM-SHA-256"}),
        ("users", {"kafka_mechanism": "SCRAM-SHA-512"}),
        ("open", {"kafka_mechanism": "PLAIN"}),
        ("open", {}),
    ],
    ids=["TLS", "client certificate", "PLAIN", "SCRAM-256", "SCRAM-512", "PLAIN without TLS", "SCRAM without TLS"],
)
async def test_what_is_appended_is_read_back(tls_kafka: TlsKafka, listener: str, more: dict[str, Any]) -> None:
    log = tls_kafka.settings(listener, **more)
    writer, later = open_writer(log, REDIS), open_async_writer(log, REDIS)
    reader, letters = open_reader(log, REDIS, Topic.CLICKS, list(ALL), "g"), open_dead_letters(log, REDIS)
    try:
        writer.append(Topic.CLICKS, clicks("anna", 3))
        await later.append(Topic.CLICKS, clicks("ben", 2))
        found = [message.value for _, message in read_all(reader, 5)]
        assert sorted(found) == [b"anna:0", b"anna:1", b"anna:2", b"ben:0", b"ben:1"]
        assert letters.count() == 0
    finally:
        await later.close()
        for opened in (writer, reader, letters):
            opened.close()


USERS = "Check that it is a broker, and that it knows NEXTCLICK_LOG__KAFKA_USER with its _PASSWORD and _MECHANISM"
TRUST = "Of the broker: its certificate is not trusted: name the file of who signed it in NEXTCLICK_LOG__KAFKA_TLS_CA"
OURS = "Of the broker: it wants a certificate of ours that it trusts: name one in NEXTCLICK_LOG__KAFKA_TLS_CERTIFICATE"
PLAIN = "Of the broker: it ended the connection as TLS began: it speaks none there (NEXTCLICK_LOG__KAFKA and"


def wrong_settings(made: Certificates, wrong: str) -> dict[str, Any]:
    strange = {"kafka_tls_certificate": made.strange_client.certificate, "kafka_tls_key": made.strange_client.key}
    found: dict[str, Any] = {
        "another CA": {"kafka_tls_ca": made.other_ca},
        "no CA": {"kafka_tls_ca": ""},
        "no certificate": {"kafka_tls_certificate": "", "kafka_tls_key": ""},
        "a strange certificate": strange,
        "password": {"kafka_password": "not-" + PASSWORD},
        "user": {"kafka_user": "nobody"},
        "TLS to a plain port": {"kafka_security": "SASL_SSL", "kafka_tls_ca": made.ca},
    }[wrong]
    return {name: str(value) for name, value in found.items()}


@pytest.mark.parametrize(
    ("listener", "wrong", "said"),
    [
        ("tls", "another CA", TRUST),
        ("tls", "no CA", TRUST),
        ("strict", "no certificate", OURS),
        ("strict", "a strange certificate", OURS),
        ("users", "password", USERS),
        ("users", "user", USERS),
        ("open", "password", USERS),
        ("open", "TLS to a plain port", PLAIN),
    ],
    ids=lambda value: value if len(value) < 30 else "",
)
def test_what_is_not_the_brokers_is_said_in_one_line_without_the_password(
    tls_kafka: TlsKafka, listener: str, wrong: str, said: str
) -> None:
    log = tls_kafka.settings(listener, **wrong_settings(tls_kafka.made, wrong))
    with pytest.raises(LogUnavailable) as refused:
        open_writer(log, REDIS)
    text = str(refused.value)
    assert said in text
    assert f"127.0.0.1:{tls_kafka.ports[listener]}" in text
    assert "\n" not in text
    assert PASSWORD not in text
    assert PASSWORD not in repr(log)


def test_files_that_were_exchanged_are_taken_up_by_the_next_connection(tls_kafka: TlsKafka, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(tls_kafka.made.other_ca.read_bytes())
    log: LogSettings = tls_kafka.settings("tls", kafka_tls_ca=str(ca))
    with pytest.raises(LogUnavailable, match="not trusted"):
        open_writer(log, REDIS)
    ca.write_bytes(tls_kafka.made.ca.read_bytes())
    open_writer(log, REDIS).close()
