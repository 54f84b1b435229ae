"""A real Kafka that speaks TLS and asks for passwords, on one port for each way of doing so."""

from __future__ import annotations

import gc
import logging
import os
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.settings import LogSettings
from state.ports import free_port
from tests.certificates import Certificates, Pair
from tests.kafka_broker import KafkaBroker, NoKafka

USER, PASSWORD = "shop", "a-secret-word"

_MORE = """
listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},TLS://127.0.0.1:{tls},\
STRICT://127.0.0.1:{strict},USERS://127.0.0.1:{users},OPEN://127.0.0.1:{open}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},TLS://127.0.0.1:{tls},STRICT://127.0.0.1:{strict},\
USERS://127.0.0.1:{users},OPEN://127.0.0.1:{open}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,STRICT:SSL,USERS:SASL_SSL,OPEN:SASL_PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={keys}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.strict.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
"""
_PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";'
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class TlsKafka:
    """One broker: `tls` takes everybody, `strict` wants a certificate, `users` and `open` (without TLS) a password."""

    def __init__(self, folder: Path, certificates: Certificates, shown: Pair | None = None) -> None:
        self.made = certificates
        self.ports = {name: free_port() for name in ("tls", "strict", "users", "open")}
        keys = (shown or certificates.server).both
        more = _MORE.format(**self.ports, keys=keys, ca=certificates.ca)
        for listener in ("users", "open"):
            name = f"listener.name.{listener}"
            more += f"{name}.plain.sasl.jaas.config={_PLAIN.format(user=USER, password=PASSWORD)}\n"
            more += "".join(f"{name}.scram-sha-{bits}.sasl.jaas.config={_SCRAM}\n" for bits in (256, 512))
        scram = [f"--add-scram=SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512)]
        self.broker = KafkaBroker(folder, more, scram)

    def settings(self, listener: str, **more: Any) -> LogSettings:
        """Return settings of a listener that are right, but for what `more` says; topics that no other test uses."""
        tls = {"kafka_tls_ca": str(self.made.ca)}
        users = {"kafka_user": USER, "kafka_password": PASSWORD}
        own = {"kafka_tls_certificate": str(self.made.client.certificate), "kafka_tls_key": str(self.made.client.key)}
        right: dict[str, Any] = {
            "tls": {"kafka_security": "SSL", **tls},
            "strict": {"kafka_security": "SSL", **tls, **own},
            "users": {"kafka_security": "SASL_SSL", **tls, **users},
            "open": {"kafka_security": "SASL_PLAINTEXT", **users},
        }[listener]
        place = {"kind": "kafka", "kafka": f"127.0.0.1:{self.ports[listener]}", "partitions": 4}
        return LogSettings.model_validate({"topic_prefix": f"t{uuid.uuid4().hex[:12]}.", **place, **right, **more})


@pytest.fixture(scope="session")
def tls_kafka(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[TlsKafka]:
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # as in tests.kafka_broker
    try:
        kafka = TlsKafka(tmp_path_factory.mktemp("kafka-tls"), certificates)
        kafka.broker.format()
        kafka.broker.start()
    except NoKafka as reason:
        if os.environ.get("NEXTCLICK_REQUIRE_KAFKA") == "1":
            pytest.fail(f"NEXTCLICK_REQUIRE_KAFKA is set, but there is no Kafka: {reason}")
        pytest.skip(f"no Kafka: {reason}")
    yield kafka
    kafka.broker.kill()


@pytest.fixture
def sockets_left() -> Iterator[None]:
    """For tests whose brokers refuse: kafka-python leaves the sockets of refused connections to the collector."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
