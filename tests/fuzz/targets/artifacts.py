"""A session model's folder, its manifest or an array replaced: loaded, or refused in one line."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import orjson

from contracts.errors import ArtifactError
from session_model import artifact
from session_model.artifact import MANIFEST, read_arrays, read_manifest, save
from tests.fuzz.files import folder
from tests.fuzz.target import Target


@cache
def made() -> tuple[Path, bytes, bytes]:
    home = folder() / "model"
    save(home, kind="session_model", dim=2, arrays={"a": np.arange(6, dtype=np.float32).reshape(3, 2)}, created_from={})
    return home, (home / MANIFEST).read_bytes(), (home / "a.npy").read_bytes()


def check(raw: bytes) -> None:
    """An input is the manifest, or (where it begins as one) an array; the checksums are made to fit."""
    home, manifest, array = made()
    is_array = raw[:6] == b"\x93NUMPY"
    (home / "a.npy").write_bytes(raw if is_array else array)
    (home / MANIFEST).write_bytes(_fitting(manifest if is_array else raw, raw if is_array else array))
    found = read_manifest(home, "session_model")
    assert found.number >= 0
    read_arrays(home, found, ["a"])


def _fitting(manifest: bytes, array: bytes) -> bytes:
    """Give a manifest that reads as one the checksum of the array, and the version that follows."""
    try:
        document = orjson.loads(manifest)
        document["arrays"]["a"]["sha256"] = hashlib.sha256(array).hexdigest()
        entries = artifact.Manifest.model_validate(document)
        document["version"] = artifact._version(entries.kind, entries.dim, entries.arrays)
        return orjson.dumps(document)
    except (ValueError, TypeError, KeyError):
        return manifest


TARGET = Target(
    check,
    {"manifest": made()[1], "array": made()[2]},
    code=("session_model.artifact",),
    refusals=(ArtifactError,),
    words=(b'"shape":', b'"dtype":', b"'<f4'", b"'|O'", b"(3, 2)", b"(1000000000000,)", b"'fortran_order': True"),
)
