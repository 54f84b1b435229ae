"""The calendar beside a ranker: by which hours, weekdays and weeks of the year items and categories are clicked.

Training counts it (`learning.calendar`), freezes it before the first moment that it learns from, and saves it beside
the trees; serving reads it. All times are UTC. The file is numpy's own (`.npz`, no pickles).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ArtifactError
from contracts.ids import item_key
from retrieval.key_rows import Keys

Float32s = NDArray[np.float32]
Float16s = NDArray[np.float16]
Int64s = NDArray[np.int64]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
_EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""
WEEKS: Final = 52
LONGEST_FILE: Final = 64 << 20
"""Bytes that a calendar's arrays may take."""


def hour_of(ts_ms: Int64s) -> Int64s:
    """Return the hours of the day (n,), 0 to 23."""
    return ts_ms // HOUR_MS % 24


def weekday_of(ts_ms: Int64s) -> Int64s:
    """Return the days of the week (n,), Monday 0 to Sunday 6."""
    return (ts_ms // DAY_MS + _EPOCH_WEEKDAY) % 7


def week_of(ts_ms: Int64s) -> Int64s:
    """Return the weeks of the year (n,), 0 to 51, counted from 1 January; the last one has eight or nine days."""
    days = (ts_ms // DAY_MS).astype("datetime64[D]")
    of_year: Int64s = (days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    weeks: Int64s = np.minimum(of_year // 7, WEEKS - 1)
    return weeks


@dataclass(frozen=True, slots=True)
class Cycle:
    """What comes round again: `size` places, `place_of` tells each moment's."""

    size: int
    place_of: Callable[[Int64s], Int64s]


CYCLES: Final[Mapping[str, Cycle]] = {
    "hour": Cycle(24, hour_of),
    "weekday": Cycle(7, weekday_of),
    "season": Cycle(WEEKS, week_of),
}


@dataclass(frozen=True, slots=True)
class Lifts:
    """Log lifts by place in one cycle: of items (n, places), and of categories (m, places)."""

    items: Float16s
    categories: Float16s


class Places(NamedTuple):
    """Rows of c candidates in a calendar, (c,), -1 for none."""

    items: Int64s
    categories: Int64s


@dataclass(frozen=True, slots=True)
class Calendar:
    """Log lifts of items and categories, by cycle (of CYCLES): over 0, more clicked than at other times.

    `keys` (n,) are ItemKeys and `categories` (m,) `item_key`s of category paths, both ascending. A row of an item that
    did not live for long enough is NaN: its category's counts.
    """

    keys: Keys
    categories: Keys
    lifts: Mapping[str, Lifts]

    def places_of(self, keys: Keys, categories: list[str], which: Int64s) -> Places:
        """Return where c candidates stand: `keys` (c,), and `which` (c,) of `categories` each is in."""
        named = np.array([item_key(one) for one in categories], np.uint64)
        return Places(_rows(self.keys, keys), _rows(self.categories, named)[which])

    def log_lifts(self, cycle: str, places: Places, now_ms: Int64s) -> Float32s:
        """Return the log lift of each candidate at its moment (c,), NaN where neither item nor category is known."""
        held, moment = self.lifts[cycle], CYCLES[cycle].place_of(now_ms)
        found = _at(held.items, places.items, moment)
        return np.where(np.isnan(found), _at(held.categories, places.categories, moment), found)

    def encoded(self) -> bytes:
        """Return the file's bytes: the same calendar gives the same bytes."""
        arrays: dict[str, NDArray[np.generic]] = {"keys": self.keys, "categories": self.categories}
        for name, held in self.lifts.items():
            arrays[f"{name}_items"], arrays[f"{name}_categories"] = held.items, held.categories
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:  # numpy's own writer dates every entry
            for name, array in arrays.items():
                one = io.BytesIO()
                np.lib.format.write_array(one, array, allow_pickle=False)
                entry = zipfile.ZipInfo(f"{name}.npy")
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, one.getvalue())
        return file.getvalue()


def decoded(content: bytes, cycles: tuple[str, ...], path: Path) -> Calendar:
    """Return the calendar of a file that is to hold some cycles. Raises ArtifactError, naming `path`, for another."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(one.file_size for one in archive.infolist()) > LONGEST_FILE:
                raise ValueError(f"more than {LONGEST_FILE} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            keys, categories = arrays["keys"], arrays["categories"]
            lifts = {name: Lifts(arrays[f"{name}_items"], arrays[f"{name}_categories"]) for name in cycles}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ArtifactError(f"{path}: expected a calendar ({error!s:.200}): copy the folder again") from error
    _expect(keys, np.dtype("<u8"), (len(keys),), path)
    _expect(categories, np.dtype("<u8"), (len(categories),), path)
    for name, held in lifts.items():
        _expect(held.items, np.dtype("<f2"), (len(keys), CYCLES[name].size), path)
        _expect(held.categories, np.dtype("<f2"), (len(categories), CYCLES[name].size), path)
    if (keys[1:] <= keys[:-1]).any() or (categories[1:] <= categories[:-1]).any():
        raise ArtifactError(f"{path}: expected ascending keys: copy the folder again")
    return Calendar(keys, categories, lifts)


def _expect(array: NDArray[np.generic], dtype: np.dtype[np.generic], shape: tuple[int, ...], path: Path) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ArtifactError(f"{path}: expected {dtype} {shape}, got {array.dtype} {array.shape}: copy the folder again")


def _rows(held: Keys, keys: Keys) -> Int64s:
    """Return the row of each key (n,) among ascending ones, -1 for none."""
    if not len(held):
        return np.full(len(keys), -1, np.int64)
    place = np.minimum(np.searchsorted(held, keys), len(held) - 1)
    return np.where(held[place] == keys, place, -1)


def _at(lifts: Float16s, rows: Int64s, place: Int64s) -> Float32s:
    """Return lifts of rows (n,) at places (n,); NaN for row -1."""
    if not len(lifts):
        return np.full(len(rows), np.nan, np.float32)
    return np.where(rows >= 0, lifts[rows, place].astype(np.float32), np.float32(np.nan))
