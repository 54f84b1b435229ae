"""Settings of what a service connects to, or is connected by: Redis, the log, TLS. `contracts.settings` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo

from contracts.ids import DEFAULT_PARTITIONS
from contracts.keys import CATALOGUE


class Group(BaseModel):
    """A nested group of settings. A list of words may be written as text, with commas between them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        texts = [name for name, one in given.items() if isinstance(one, str) and is_list(cls.model_fields.get(name))]
        return {**given, **{name: words_in(given[name]) for name in texts}}


_REDIS_SCHEMES = ("redis", "rediss", "unix")


def _loads(path: str, info: ValidationInfo) -> str:
    """Return the path of a TLS file. The key comes behind its certificate: they must be a pair.

    Raises ValueError for what cannot be loaded.
    """
    from contracts.tls import (
        client_context,
        expect_certificate,
    )  # loads ssl, which most processes of a machine do without

    name = str(info.field_name)
    if name.endswith("_ca") and path:
        client_context(path)
    if name.endswith("_certificate") and path:
        expect_certificate(path)
    if name.endswith("_key"):
        beside = name.replace("_key", "_certificate")
        if beside not in info.data:
            return path  # it is refused by itself
        certificate = info.data[beside]
        if path and not certificate:
            raise ValueError(f"expected its certificate in {beside.upper()} beside it")
        if certificate:
            client_context("", certificate, path)
    return path


class RedisSettings(Group):
    url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="Redis that keeps state (and the embedded log); rediss:// speaks TLS.",
    )
    prefix: str = Field(default="nc", description="First part of every key: keeps deployments apart.")
    timeout_ms: int = Field(default=2000, ge=1, description="Give up on one Redis answer after this long.")
    kind: Literal["single", "cluster", "sentinel"] = Field(
        default="single",
        description="single: the Redis of the URL. cluster: the Redis Cluster that it belongs to. sentinel: the one "
        "that Sentinels call primary; user, password, database and TLS are the URL's, its host is not asked.",
    )
    nodes: tuple[str, ...] = Field(
        default=(),
        validate_default=True,
        description="HOST:PORT, comma separated. Of a cluster, nodes to ask for the others beside the URL's; of "
        "Sentinels, all of them.",
    )
    service: str = Field(default="mymaster", description="With Sentinels: what they call the Redis that they watch.")
    sentinel_password: str = Field(
        default="", repr=False, description="With Sentinels: the password that they themselves want, if any."
    )
    wait_replicas: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Replicas that must have what we write before it is acknowledged (WAIT). 0: a primary that "
        "dies may lose its last writes.",
    )
    wait_ms: int = Field(
        default=1000, ge=1, description="How long they have for it; less of them is an error, to be sent again."
    )
    item_shards: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Shards of the catalogue, each in a slot of its own; fixed until `nextclick items shards` changes "
        "it.",
    )
    tls_ca: str = Field(
        default="",
        description="With rediss://: a PEM file of who may have signed Redis's certificate; empty: the system's.",
    )
    tls_certificate: str = Field(
        default="", description="With rediss://: a PEM file with the certificate that we show, if Redis asks for one."
    )
    tls_key: str = Field(
        default="",
        validate_default=True,
        description="The PEM file of that certificate's private key; empty: it stands beside the certificate.",
    )

    @field_validator("nodes")
    @classmethod
    def _are_places(cls, nodes: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for node in nodes:
            host, _, port = node.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536 or "@" in node or "/" in node:
                raise ValueError(f"expected HOST:PORT, got {node!r:.80}: user, password and TLS stand in the URL")
        kind, url = info.data.get("kind"), urlsplit(str(info.data.get("url", "")))
        if nodes and kind == "single":
            raise ValueError("expected NEXTCLICK_REDIS__KIND=cluster or sentinel beside nodes: a single Redis has one")
        if not nodes and kind == "sentinel":
            raise ValueError("expected the places of the Sentinels as HOST:PORT, got none")
        if kind == "cluster" and (url.scheme == "unix" or url.path.strip("/") not in ("", "0")):
            raise ValueError("expected a URL with a host and database 0: a cluster has no other, and no sockets")
        return nodes

    @field_validator("tls_ca", "tls_certificate", "tls_key")
    @classmethod
    def _is_for_tls(cls, path: str, info: ValidationInfo) -> str:
        if path and not str(info.data.get("url", "rediss:")).startswith("rediss:"):
            raise ValueError("expected rediss:// in NEXTCLICK_REDIS__URL, as this is for TLS alone")
        return _loads(path, info)

    @field_validator("url")
    @classmethod
    def _can_be_read(cls, url: str) -> str:
        """What a client would say of a wrong one holds its password."""
        try:
            address = urlsplit(url)
            address.port  # noqa: B018 (looks whether it is a number)
            begins = url.lower().startswith(f"{address.scheme}://")  # redis:/HOST names no host
            whole = address.scheme in _REDIS_SCHEMES and begins and not address.fragment and "@" not in address.path
        except ValueError:
            whole = False
        if not whole:
            raise ValueError(
                "expected redis://HOST:PORT/DATABASE, redis://USER:PASSWORD@HOST:PORT/DATABASE, rediss://... or "
                "unix://PATH, with all of a password that is no letter or digit percent-encoded"
            )
        return url

    def shards(self, table: str) -> int:
        """Return how many shards a change table has."""
        return self.item_shards if table == CATALOGUE else 1

    @property
    def is_tls(self) -> bool:
        return self.url.startswith("rediss:")

    @property
    def is_cluster(self) -> bool:
        return self.kind == "cluster"

    @property
    def seeds(self) -> tuple[tuple[str, int], ...]:
        """Hosts and ports to ask first: who the others are, or, of Sentinels, who is primary."""
        address = urlsplit(self.url)
        named = ((address.hostname or "127.0.0.1", address.port or 6379),) if self.is_cluster else ()
        return (
            *named,
            *((host.strip("[]"), int(port)) for host, _, port in (one.rpartition(":") for one in self.nodes)),
        )

    @property
    def place(self) -> str:
        """Where Redis is, for messages: never with user and password."""
        address = urlsplit(self.url)
        own = f"{address.hostname}:{address.port or 6379}" if address.hostname else address.path
        if self.kind == "sentinel":
            return f"{self.service} of the Sentinels {', '.join(self.nodes)}"
        return f"{own} (cluster)" if self.is_cluster else own


class LogSettings(Group):
    kind: Literal["redis", "kafka"] = Field(default="redis", description="Which event log.")
    kafka: str = Field(default="127.0.0.1:9092", description="Kafka bootstrap servers, comma separated.")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT",
        description="How to speak with Kafka: with TLS (SSL), with a user and password (SASL), or both.",
    )
    kafka_tls_ca: str = Field(
        default="",
        description="With SSL: a PEM file of who may have signed the brokers' certificates; empty: the system's.",
    )
    kafka_tls_certificate: str = Field(
        default="", description="With SSL: a PEM file with the certificate that we show, if brokers ask for one."
    )
    kafka_tls_key: str = Field(
        default="",
        validate_default=True,
        description="The PEM file of that certificate's private key; empty: it stands beside the certificate.",
    )
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="With SASL: how the password is shown."
    )
    kafka_user: str = Field(default="", validate_default=True, description="With SASL: the user.")
    kafka_password: str = Field(
        default="", validate_default=True, repr=False, description="With SASL: the user's password."
    )
    topic_prefix: str = Field(default="nextclick.", description="First part of every Kafka topic's name.")
    partitions: int = Field(
        default=DEFAULT_PARTITIONS,
        ge=1,
        le=4096,
        description="Partitions of every topic; fixed for a deployment's life.",
    )
    kept_records: int = Field(
        default=20_000, ge=0, description="Redis log: applied records kept per partition for late readers."
    )
    max_backlog: int = Field(
        default=200_000,
        ge=1,
        description="Redis log: records not yet applied, per partition, before the gateway answers 503.",
    )
    kept_bytes: int = Field(
        default=64_000_000,
        ge=16_000,
        description="Redis log: bytes of applied records kept per topic, however few records that are. Redis takes 1.1 "
        "to 2 times as much for them.",
    )
    max_backlog_bytes: int = Field(
        default=1_000_000_000,
        ge=16_000,
        description="Redis log: bytes not yet applied, per topic, before the gateway answers 503.",
    )
    wait_bytes: int = Field(
        default=256_000_000,
        ge=0,
        description="Redis log: bytes kept beyond that, per topic, for a trends flow that has yet to read them. Of "
        "more it loses the oldest (`records_lost_total`). 0: it is not waited for.",
    )
    dead_letter_bytes: int = Field(
        default=64_000_000,
        ge=16_000,
        description="Redis log: bytes of dead letters kept, of all partitions; the oldest go, also of more than 10,000 "
        "of a partition.",
    )
    max_record_bytes: int = Field(
        default=1_000_000,
        ge=1000,
        description="A larger event or item is refused (413). With Kafka, less than the broker's `message.max.bytes`.",
    )
    gather_ms: int = Field(
        default=10,
        ge=0,
        le=1000,
        description="While clicks come often one by one: most that an append, and a reading of the sessions flow, "
        "waits for more of them. 0 for never.",
    )

    def share(self, of_a_topic: int) -> int:
        """Return a partition's share of a topic's bytes, 0 of none."""
        return -(-of_a_topic // self.partitions)

    @field_validator("kafka_tls_ca", "kafka_tls_certificate", "kafka_tls_key")
    @classmethod
    def _is_for_tls(cls, path: str, info: ValidationInfo) -> str:
        if path and not str(info.data.get("kafka_security", "SSL")).endswith("SSL"):
            raise ValueError("expected SSL or SASL_SSL in NEXTCLICK_LOG__KAFKA_SECURITY, as this is for TLS alone")
        return _loads(path, info)

    @field_validator("kafka_user", "kafka_password")
    @classmethod
    def _is_for_sasl(cls, given: str, info: ValidationInfo) -> str:
        if bool(given) != info.data.get("kafka_security", "").startswith("SASL"):
            expected = "none but with" if given else "one with"
            raise ValueError(f"expected {expected} SASL_PLAINTEXT or SASL_SSL in NEXTCLICK_LOG__KAFKA_SECURITY")
        return given

    @property
    def kafka_is_tls(self) -> bool:
        return self.kafka_security.endswith("SSL")

    @property
    def kafka_is_sasl(self) -> bool:
        return self.kafka_security.startswith("SASL")


class ServedTls(Group):
    """What a gateway shows of itself. The stack and our own clients read it too, and nothing else of the gateway's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tls_certificate: str = Field(
        default="",
        description="A PEM file with the gateway's certificate and those that signed it: it speaks HTTPS. Empty: HTTP.",
    )
    tls_key: str = Field(
        default="",
        validate_default=True,
        description="The PEM file of that certificate's private key; empty: it stands beside the certificate.",
    )

    @field_validator("tls_certificate", "tls_key")
    @classmethod
    def _is_a_pair(cls, path: str, info: ValidationInfo) -> str:
        return _loads(path, info)

    @property
    def scheme(self) -> str:
        return "https" if self.tls_certificate else "http"


def is_list(field: FieldInfo | None) -> bool:
    return field is not None and get_origin(field.annotation) in (list, tuple, set, frozenset)


def words_in(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip())]
