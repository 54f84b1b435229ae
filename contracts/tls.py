"""Certificates and keys, in files that settings name: the one place that loads them."""

from __future__ import annotations

import ssl
from typing import Final

CA_HELP: Final = "a PEM file of certificates to trust"
CERTIFICATE_HELP: Final = "a PEM file that holds a certificate, with those that signed it behind it"
KEY_HELP: Final = "a PEM file that holds the certificate's private key, without a passphrase"


def client_context(ca: str = "", certificate: str = "", key: str = "") -> ssl.SSLContext:
    """Return how we connect: to a server whose certificate names the host that we asked for, and that `ca` signed.

    `ca` is a file of certificates to trust; empty trusts those of the system. `certificate` and `key` are shown to a
    server that asks. Raises ValueError, saying what was expected of which file.
    """
    try:
        context = ssl.create_default_context(cafile=ca or None)  # with a file, the system's are not loaded
    except FileNotFoundError:
        raise ValueError(f"expected {CA_HELP}, found no file {ca}") from None
    except (ssl.SSLError, OSError) as error:
        raise ValueError(f"expected {CA_HELP}, {ca} is none ({_reason(error)})") from None
    if certificate:
        load_own(context, certificate, key)
    return context


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return how we are connected to: TLS 1.2 or newer, with this certificate. Raises ValueError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_own(context, certificate, key)
    return context


def own_context(certificate: str) -> ssl.SSLContext:
    """Return how a process of this machine connects to a gateway of its own settings: to whoever shows this very
    certificate, whatever host it names. Raises ValueError.
    """
    context = client_context(certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a certificate that is trusted need not be a CA's
    return context


def unchecked_context() -> ssl.SSLContext:
    """Return how to ask who answers on a port: nothing is sent that is a secret, and no answer is believed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def load_own(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load what a context shows of itself. Raises ValueError that names the file, with a context that may hold half of
    it.
    """
    expect_certificate(certificate)
    _expect_readable(key or certificate, KEY_HELP)
    try:
        context.load_cert_chain(certificate, key or None, password=_no_passphrase)
    except (ssl.SSLError, OSError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise ValueError(
                f"expected the private key of the certificate in {certificate}, {key or certificate} holds the key of "
                "another"
            ) from None
        raise ValueError(f"expected {KEY_HELP}, {key or certificate} is none ({_reason(error)})") from None


def expect_certificate(path: str) -> None:
    """Raise ValueError where a file does not begin with a certificate."""
    _expect_readable(path, CERTIFICATE_HELP)
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise ValueError(f"expected {CERTIFICATE_HELP}, {path} is none ({_reason(error)})") from None


def _expect_readable(path: str, what: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        raise ValueError(f"expected {what}, found no file {path}") from None
    except OSError as error:
        raise ValueError(f"expected {what}, {path} cannot be read ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "it holds nothing of the kind").lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)


def _no_passphrase() -> str:
    """Called for a key with a passphrase: a process that nobody watches is not to ask for it on a terminal."""
    raise ValueError("the key has a passphrase")
