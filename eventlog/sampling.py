"""Which sessions a sampled recording holds: the same ones wherever it is made, so that sessions stay whole."""

from __future__ import annotations

import xxhash

_SEED = 0x5E55
_ALL = 1 << 64


def in_sample(session_id: str, share: float) -> bool:
    """Tell whether a session belongs to a sample of `share` (0 to 1). A larger share holds every smaller one."""
    return xxhash.xxh3_64_intdigest(session_id.encode(), _SEED) < share * _ALL
