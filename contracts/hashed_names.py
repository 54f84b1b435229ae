"""What stands for a visitor's name where names must not be read."""

from __future__ import annotations

import hashlib

HASH_BYTES = 16
SECRET_BYTES = 32


def hashed(secret: bytes, kind: str, name: str) -> str:
    """Return a keyed hash of a name (BLAKE2b, 32 hex digits); `kind`: `user` or `session`. Whoever has the secret can
    try names, nobody can read one.
    """
    raw = name.encode(errors="surrogatepass")
    return hashlib.blake2b(raw, key=secret[:64], digest_size=HASH_BYTES, person=kind.encode()).hexdigest()
