"""How our own clients check a gateway's certificate."""

from __future__ import annotations

import socket
import ssl
from ipaddress import ip_address

from contracts.addresses import HttpAddress
from contracts.settings import ServedTls, ServiceSettings
from contracts.tls import client_context, own_context


class _OwnGateway(ServiceSettings):
    gateway: ServedTls = ServedTls()


def context_to(address: HttpAddress) -> ssl.SSLContext | None:
    """Return how to connect to a gateway; None without TLS. Raises SettingsError.

    A gateway elsewhere must have a certificate that the system trusts (OpenSSL reads SSL_CERT_FILE) and that names its
    host. One on this machine may show the certificate that the settings here name, whatever host that is for.
    """
    if not address.is_tls:
        return None
    own = _OwnGateway().gateway.tls_certificate if _is_here(address.host) else ""
    return own_context(own) if own else client_context()


def _is_here(host: str) -> bool:
    """Say whether a host is this machine: whether a socket can be bound to its address."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    if address.is_loopback:
        return True
    with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
