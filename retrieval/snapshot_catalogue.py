"""The catalogue's columns as files of a snapshot: written once, opened as copy-on-write maps.

Columns have room for more rows than there are, as holes in the files, so that what comes after the snapshot goes into
the same arrays: it becomes private memory of the process that writes it, page by page, and the files never change.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import orjson
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from numpy.typing import NDArray

from contracts.errors import ArtifactError
from contracts.npy import mapped_array
from retrieval.catalogue import COLUMNS, MAX_REGION_BITS, CatalogueColumns, Vocabulary, decode_document, encode_document
from retrieval.key_rows import KeyRows
from retrieval.row_values import PackedBytes, RowValues
from retrieval.snapshot import Manifest

SPARE_SHARE, SPARE_ROWS = 0.25, 4096
"""Room for rows that come later, as a share of those there are, and at least."""
WORDS = "words.json"
_ROWS_AT_ONCE = 65_536


def capacity_for(rows: int) -> int:
    """Return the rows that a snapshot of `rows` rows has room for."""
    return rows + max(SPARE_ROWS, int(SPARE_SHARE * rows))


def write_catalogue(aside: Path, columns: CatalogueColumns) -> None:
    """Write every row, tombstones among them, under the row numbers that they have."""
    count = columns.count
    room = capacity_for(count)
    for name in COLUMNS:
        _write_padded(aside / f"{name}.npy", getattr(columns, name)[:count], room)
    if columns.dim:
        _write_padded(aside / "vectors.npy", columns.vectors[:count], room)
    table = KeyRows.with_room(room)
    table.add(columns.keys[:count])
    slot_keys, slot_rows = table.slots
    np.save(aside / "slot_keys.npy", slot_keys, allow_pickle=False)
    np.save(aside / "slot_rows.npy", slot_rows, allow_pickle=False)
    _write_packed(aside, "item_ids", columns.item_ids, count)
    _write_packed(aside, "documents", columns.documents, count)
    words = columns.words
    further = {region: sorted(rows) for region, rows in words.further_regions.items()}
    document = [list(words.categories.items()), list(words.brands.items()), list(words.regions.items()), further]
    (aside / WORDS).write_bytes(orjson.dumps(document))


def open_catalogue(snapshot: Path, manifest: Manifest) -> CatalogueColumns:
    """Open the columns. Nothing is read but the headers. Raises ArtifactError for files of another shape."""
    version = manifest.tower or None
    columns = CatalogueColumns(model_version=version, dim=manifest.dim or None)
    for name in COLUMNS:
        setattr(columns, name, _mapped(snapshot, name, (manifest.capacity,), getattr(columns, name).dtype))
    if manifest.dim:
        columns.vectors = _mapped(snapshot, "vectors", (manifest.capacity, manifest.dim), np.dtype(np.float32))
    slot_keys = _mapped(snapshot, "slot_keys", None, np.dtype(np.uint64))
    slot_rows = _mapped(snapshot, "slot_rows", slot_keys.shape, np.dtype(np.int32))
    columns.open_rows(KeyRows.over(slot_keys, slot_rows, manifest.rows))
    columns.item_ids = RowValues(bytes.decode, str.encode, _packed(snapshot, "item_ids", manifest.rows))
    columns.documents = RowValues(decode_document, encode_document, _packed(snapshot, "documents", manifest.rows))
    columns.words = _words(snapshot / WORDS)
    return columns


_Codes = list[tuple[str, Annotated[int, msgspec.Meta(ge=0, lt=2**31)]]]
_decode_words = msgspec.json.Decoder(tuple[_Codes, _Codes, _Codes, dict[str, set[int]]]).decode


def _words(path: Path) -> Vocabulary:
    try:
        categories, brands, regions, further = _decode_words(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"cannot read {path}: {error}. Build the snapshot again") from error
    if any(bit >= MAX_REGION_BITS for _, bit in regions):
        raise ArtifactError(f"{path}: expected at most {MAX_REGION_BITS} regions by bit. Build the snapshot again")
    return Vocabulary(dict(categories), dict(brands), dict(regions), further)


def _write_padded(path: Path, rows: NDArray[Any], room: int) -> None:
    """Write rows as an array of `room` rows; the rest is a hole in the file, zeros that take no disk.

    By ordinary writes: a full disk is an OSError then, where a write to a map of the file would end the process.
    """
    header = {"descr": dtype_to_descr(rows.dtype), "fortran_order": False, "shape": (room, *rows.shape[1:])}
    with path.open("wb") as file:
        write_array_header_1_0(file, header)
        end = file.tell() + room * rows.dtype.itemsize * math.prod(rows.shape[1:])
        for at in range(0, len(rows), _ROWS_AT_ONCE):
            file.write(np.ascontiguousarray(rows[at : at + _ROWS_AT_ONCE]).tobytes())
        file.truncate(end)


def _write_packed(aside: Path, name: str, values: RowValues[Any], count: int) -> None:
    ends = np.zeros(count + 1, np.int64)
    with (aside / f"{name}.bin").open("wb") as blob:
        for row in range(count):
            ends[row + 1] = ends[row] + blob.write(values.raw(row))
        blob.write(b"\n")  # an empty file cannot be mapped
    np.save(aside / f"{name}_ends.npy", ends, allow_pickle=False)


def _packed(snapshot: Path, name: str, rows: int) -> PackedBytes:
    ends, path = _mapped(snapshot, f"{name}_ends", (rows + 1,), np.dtype(np.int64)), snapshot / f"{name}.bin"
    try:
        blob = np.asarray(np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot map {path}: {error}. Build the snapshot again") from error
    if ends[0] != 0 or ends[-1] > len(blob):
        raise ArtifactError(f"{path}: expected {ends[-1]:,} bytes, got {len(blob):,}. Build the snapshot again")
    return PackedBytes(blob, ends)


def _mapped(snapshot: Path, name: str, shape: tuple[int, ...] | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    path = snapshot / f"{name}.npy"
    try:
        array = mapped_array(path)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot map {path}: {error}. Build the snapshot again") from error
    if array.dtype != dtype or (shape is not None and array.shape != shape):
        raise ArtifactError(
            f"{path}: expected {dtype} {shape}, got {array.dtype} {array.shape}: build the snapshot again"
        )
    return array
