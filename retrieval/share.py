"""A share of the catalogue: the items of one shard of the index, by their keys, and where it is kept and asked."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import SettingsError
from contracts.settings import IndexSettings
from retrieval.key_rows import Keys
from retrieval.shard_heads import place_of


class Share(NamedTuple):
    """Shard `shard` of `of`. Keys are hashes of item ids, so that shares are of equal size."""

    shard: int
    of: int

    def takes(self, keys: Keys) -> NDArray[np.bool_]:
        """Return which of keys (n,) are of this share, (n,)."""
        mine: NDArray[np.bool_] = keys % np.uint64(self.of) == self.shard
        return mine

    def holds(self, key: int) -> bool:
        return key % self.of == self.shard


def expect_share(shard: int, of: int) -> Share:
    """Raise SettingsError for a shard that there is not."""
    if of == 0:
        raise SettingsError("expected NEXTCLICK_INDEX__SHARDS of 1 or more, got 0: it says how many shards there are")
    if not 0 <= shard < of:
        raise SettingsError(
            f"expected --shard from 0 to {of - 1} of {of} shards, got {shard}: index.shards says how many"
        )
    return Share(shard, of)


def settings_of(share: Share, index: IndexSettings) -> IndexSettings:
    """Return the settings of a shard's own index: as an unsharded one of its share, in places of its own."""
    name = f"-shard-{share.shard}-of-{share.of}"
    places = {
        place: f"{at.rstrip('/')}{name}" if at else ""
        for place, at in (("folder", index.folder), ("store", index.store))
    }
    return index.model_copy(update={"shards": 0, **places, "min_items": max(1, index.min_items // share.of)})


def addresses_of(index: IndexSettings) -> list[str]:
    """Return where each shard is asked: `unix:PATH` or `HOST:PORT`, as `index.shard_addresses` says, or else unix
    sockets beside the folder of snapshots. Raises SettingsError.
    """
    given = [one.strip() for one in index.shard_addresses.split(",") if one.strip()]
    if not given and index.folder:
        given = [f"unix:{Path(index.folder).absolute()}-shard-{n}-of-{index.shards}.sock" for n in range(index.shards)]
    if len(given) != index.shards:
        raise SettingsError(
            f"expected {index.shards} addresses in index.shard_addresses, one for each shard, got {len(given)}: "
            "write unix:PATH or HOST:PORT, parted by commas, or set index.folder, beside which the sockets are then"
        )
    for address in given:
        place_of(address)
    return given
