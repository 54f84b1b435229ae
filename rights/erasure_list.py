"""The list of erasures beside Redis: what a restore needs so that nobody comes back with a backup. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from rights.erasure import Erasure, merged

FORMAT: Final = "nextclick-erasures"


class ErasureList(msgspec.Struct, frozen=True):
    """All erasures of a deployment, by keyed hashes, and the secret that these are made with (hex)."""

    prefix: str
    secret: str
    erasures: list[Erasure] = []
    format: str = FORMAT

    def of(self, here: Iterable[Erasure], secret: bytes, oldest_ms: int) -> ErasureList:
        """Return the list with what a Redis knows, without what is older than a moment."""
        kept = {one.id: one for one in self.erasures}
        kept.update((one.id, msgspec.structs.replace(one, looked=None)) for one in here)
        listed = sorted((one for one in kept.values() if one.at_ms >= oldest_ms), key=lambda one: (one.at_ms, one.id))
        return ErasureList(self.prefix, secret.hex(), listed)

    def missing_in(self, here: Iterable[Erasure]) -> list[Erasure]:
        """Return the erasures that a Redis does not know of, or not as done: to be carried out again."""
        known = {one.id: one for one in here}
        return [one for one in merged(known.values(), self.erasures) if one.again and known.get(one.id) != one]


def encode_list(listed: ErasureList) -> bytes:
    return msgspec.json.format(msgspec.json.encode(listed), indent=1) + b"\n"


def decode_list(raw: bytes) -> ErasureList:
    """Decode what `encode_list` made. Raises ValueError for anything else."""
    try:
        listed = msgspec.json.decode(raw, type=ErasureList)
    except msgspec.DecodeError as error:
        raise ValueError(f"expected a list of erasures, got {raw[:40]!r}: {error}") from error
    if listed.format != FORMAT:
        raise ValueError(f"expected {FORMAT}, got {listed.format!r:.60}")
    return listed
