"""What to do about a connection that failed for its TLS, by what OpenSSL says of it."""

from __future__ import annotations

from typing import Final

_ADVICE: Final = (
    (
        ("hostname mismatch", "ip address mismatch", "doesn't match"),
        "its certificate is of another host: name one in {address} that the certificate names",
    ),
    (("certificate has expired", "not yet valid"), "its certificate is out of date: renew it, or set the clock right"),
    (
        ("certificate verify failed", "certificate_verify_failed"),
        "its certificate is not trusted: name the file of who signed it in {ca}",
    ),
    (
        (
            *("certificate required", "certificate_required", "bad certificate", "bad_certificate"),
            *("unknown ca", "unknown_ca", "certificate unknown", "certificate_unknown"),
        ),
        "it wants a certificate of ours that it trusts: name one in {certificate}",
    ),
    (
        ("wrong version number", "wrong_version_number", "record layer failure", "record_layer_failure"),
        "it speaks no TLS there: check the port, and {address}",
    ),
    (
        ("ssleoferror", "eof occurred", "unexpected eof"),
        "it ended the connection as TLS began: it speaks none there ({address}), or wants a certificate of ours "
        "({certificate})",
    ),
)


def tls_advice(error: BaseException, *, address: str, ca: str, certificate: str) -> str | None:
    """Return what to do about an error; None where it is not of TLS. The others are names of settings to look at."""
    said = f"{type(error).__name__}: {error}".lower()
    for signs, what_to_do in _ADVICE:
        if any(sign in said for sign in signs):
            return what_to_do.format(address=address, ca=ca, certificate=certificate)
    return None
