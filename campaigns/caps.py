"""How often a user may be written to, over all campaigns: what a ledger keeps of a user, and its bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, NamedTuple

import xxhash

_ENTRY: Final = struct.Struct("<Qq")
"""Hash of a campaign's name, and when it wrote (epoch ms)."""


class Cap(NamedTuple):
    """At most `most` campaigns to a user within `within`."""

    most: int
    within: timedelta

    def since_ms(self, now_ms: int) -> int:
        return now_ms - round(self.within.total_seconds() * 1000)


def campaign_key(campaign: str) -> int:
    """Return what a ledger knows a campaign by."""
    return xxhash.xxh3_64_intdigest(campaign.encode())


def written_in(raw: bytes | None) -> dict[int, int]:
    """Return when each campaign wrote to a user, from what a ledger keeps; nothing for what cannot be read."""
    if raw is None or len(raw) % _ENTRY.size:
        return {}
    return dict(_ENTRY.iter_unpack(raw))


def packed(written: Mapping[int, int]) -> bytes:
    """Return what a ledger keeps of a user."""
    return b"".join(_ENTRY.pack(key, at_ms) for key, at_ms in written.items())


def is_capped(written: Mapping[int, int], campaign: str, cap: Cap | None, now_ms: int) -> bool:
    """Tell whether other campaigns wrote to a user as often as a cap allows. A campaign never caps itself."""
    if cap is None:
        return False
    own, since_ms = campaign_key(campaign), cap.since_ms(now_ms)
    return sum(at_ms > since_ms for key, at_ms in written.items() if key != own) >= cap.most
