"""Certificates for tests, made for the run: of a CA, of servers here, of clients, and some that are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True)
class Pair:
    """A certificate (with its chain) and its key, in a file each; `both` has them in one, the key first."""

    certificate: Path
    key: Path
    both: Path


class Certificates:
    """What a CA signed, as files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca, other = trustme.CA(), trustme.CA()
        self.ca, self.other_ca = folder / "ca.pem", folder / "other-ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca))
        other.cert_pem.write_to_path(str(self.other_ca))
        self.server = self._pair("server", self._ca.issue_cert("localhost", "127.0.0.1"))
        self.renewed_server = self._pair("renewed", self._ca.issue_cert("localhost", "127.0.0.1"))
        self.client = self._pair("client", self._ca.issue_cert("client@nextclick.example"))
        self.strange_client = self._pair("strange", other.issue_cert("client@elsewhere.example"))
        self.other_server = self._pair("other-server", other.issue_cert("localhost", "127.0.0.1"))
        self.other_host = self._pair("other-host", self._ca.issue_cert("redis.example"))
        ended = datetime.now(UTC) - timedelta(days=1)
        self.expired = self._pair("expired", self._ca.issue_cert("localhost", "127.0.0.1", not_after=ended))

    def _pair(self, name: str, made: trustme.LeafCert) -> Pair:
        pair = Pair(*(self.folder / f"{name}.{kind}.pem" for kind in ("certificate", "key", "both")))
        chain = b"".join(one.bytes() for one in made.cert_chain_pems)
        key = load_pem_private_key(made.private_key_pem.bytes(), None)
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # the form that Kafka reads
        pair.certificate.write_bytes(chain)
        pair.key.write_bytes(plain)
        pair.both.write_bytes(plain + chain)
        return pair


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))
