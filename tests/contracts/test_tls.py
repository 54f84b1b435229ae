"""Files of certificates and keys: looked at when settings are read, and refused in one line that names the setting."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import SettingsError
from contracts.tls import client_context, server_context
from gateway.settings import GatewaySettings
from tests.certificates import Certificates


def test_a_ca_of_ours_stands_instead_of_the_systems(certificates: Certificates) -> None:
    assert len(client_context(str(certificates.ca)).get_ca_certs()) == 1
    assert client_context().verify_mode is ssl.CERT_REQUIRED
    assert client_context().check_hostname


def test_old_tls_is_not_spoken(certificates: Certificates) -> None:
    pair = certificates.server
    for context in (client_context(), server_context(str(pair.certificate), str(pair.key))):
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_key_may_stand_beside_its_certificate(certificates: Certificates) -> None:
    server_context(str(certificates.server.both), "")


def expect_refused(said: str, group: str, **values: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        GatewaySettings(**{group: values})  # type: ignore[arg-type]
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


URL = "rediss://:a-secret-word@redis.example:6380/0"
KAFKA = {"kind": "kafka", "kafka_security": "SSL"}


def test_files_that_are_right_are_taken(certificates: Certificates) -> None:
    ca, own = str(certificates.ca), certificates.client
    redis = GatewaySettings(
        redis={"url": URL, "tls_ca": ca, "tls_certificate": str(own.certificate), "tls_key": str(own.key)}  # type: ignore[arg-type]
    ).redis
    assert (redis.is_tls, redis.place) == (True, "redis.example:6380")
    log = GatewaySettings(log={**KAFKA, "kafka_tls_ca": ca, "kafka_tls_certificate": str(own.both)}).log  # type: ignore[arg-type]
    assert (log.kafka_is_tls, log.kafka_is_sasl) == (True, False)


def test_a_file_that_is_not_there_is_named_with_its_setting(certificates: Certificates, tmp_path: Path) -> None:
    none, text = str(tmp_path / "none.pem"), tmp_path / "text.pem"
    text.write_text("hello")
    own = certificates.client
    expect_refused(
        f"NEXTCLICK_REDIS__TLS_CA: Value error, expected a PEM file of certificates to trust, found no file {none}",
        *("redis",),
        url=URL,
        tls_ca=none,
    )
    expect_refused(f"{text} is none", "redis", url=URL, tls_ca=str(text))
    key_help = "expected a PEM file that holds the certificate's private key, without a passphrase"
    expect_refused(
        f"NEXTCLICK_REDIS__TLS_KEY: Value error, {key_help}, found no file {none}",
        *("redis",),
        url=URL,
        tls_certificate=str(own.certificate),
        tls_key=none,
    )
    expect_refused(
        "NEXTCLICK_REDIS__TLS_CERTIFICATE: Value error, expected a PEM file that holds a certificate, with those that "
        f"signed it behind it, found no file {none}",
        *("redis",),
        url=URL,
        tls_certificate=none,
        tls_key=str(own.key),
    )
    alone = str(own.certificate)
    expect_refused(f"TLS_KEY: Value error, {key_help}, {alone} is none", "redis", url=URL, tls_certificate=alone)
    expect_refused(f"{text} is none", "gateway", tls_certificate=str(text))
    expect_refused(f"{tmp_path} cannot be read (Is a directory)", "gateway", tls_certificate=str(tmp_path))
    expect_refused(f"{text} is none", "gateway", tls_certificate=alone, tls_key=str(text))
    expect_refused("NEXTCLICK_LOG__KAFKA_TLS_CA", "log", **KAFKA, kafka_tls_ca=none)
    expect_refused(
        f"NEXTCLICK_LOG__KAFKA_TLS_KEY: Value error, expected the private key of the certificate in {own.certificate}, "
        f"{certificates.server.key} holds the key of another",
        *("log",),
        **KAFKA,
        kafka_tls_certificate=str(own.certificate),
        kafka_tls_key=str(certificates.server.key),
    )
    expect_refused("expected its certificate in TLS_CERTIFICATE beside it", "redis", url=URL, tls_key=str(own.key))


def test_what_is_for_tls_alone_is_refused_without_it(certificates: Certificates) -> None:
    ca = str(certificates.ca)
    expect_refused("expected rediss:// in NEXTCLICK_REDIS__URL, as this is for TLS alone", "redis", tls_ca=ca)
    expect_refused("expected SSL or SASL_SSL in NEXTCLICK_LOG__KAFKA_SECURITY", "log", kind="kafka", kafka_tls_ca=ca)


def test_a_user_and_a_password_belong_to_sasl() -> None:
    expect_refused("NEXTCLICK_LOG__KAFKA_USER: Value error, expected one with", "log", kafka_security="SASL_SSL")
    expect_refused(
        "NEXTCLICK_LOG__KAFKA_PASSWORD: Value error, expected one with",
        *("log",),
        kafka_security="SASL_SSL",
        kafka_user="shop",
    )
    with pytest.raises(SettingsError) as refused:
        GatewaySettings(log={"kafka_password": "a-secret-word"})  # type: ignore[arg-type]
    assert str(refused.value).startswith("NEXTCLICK_LOG__KAFKA_PASSWORD: Value error, expected none but with SASL")
    assert "a-secret-word" not in str(refused.value)


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(
    certificates: Certificates, tmp_path: Path
) -> None:
    locked = tmp_path / "locked.pem"
    made = ["openssl", "pkcs8", "-topk8", "-in", str(certificates.client.key), "-out", str(locked)]
    subprocess.run([*made, "-passout", "pass:secret"], check=True, capture_output=True)
    with pytest.raises(ValueError, match="the key has a passphrase"):
        client_context("", str(certificates.client.certificate), str(locked))
