"""Artifact folders: what is written is read, what is damaged is refused and says what to do."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import orjson
import pytest

from contracts.errors import ArtifactError
from session_model import artifact

ARRAYS = {"table": np.arange(6, dtype=np.float16).reshape(3, 2), "keys": np.array([1, 2**63], np.uint64)}


def save(folder: Path, **changes: object) -> artifact.Manifest:
    arrays = {**ARRAYS, **changes}
    return artifact.save(folder, kind="session_model", dim=2, arrays=arrays, created_from={"seed": 7})  # type: ignore[arg-type]


def test_arrays_come_back_as_they_were_saved(tmp_path: Path) -> None:
    save(tmp_path / "m")
    manifest = artifact.read_manifest(tmp_path / "m", "session_model")
    arrays = artifact.read_arrays(tmp_path / "m", manifest, ["table", "keys"])
    assert arrays["table"].tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert arrays["table"].dtype == np.float16
    assert arrays["keys"].tolist() == [1, 2**63]
    assert manifest.created_from == {"seed": 7}
    assert manifest.dim == 2


def test_the_version_depends_on_the_arrays_alone(tmp_path: Path) -> None:
    first = save(tmp_path / "a").version
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert save(tmp_path / "b").version == first
    assert save(tmp_path / "c", keys=np.array([1, 3], np.uint64)).version != first


def test_saving_again_replaces_the_folder_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    save(tmp_path / "m", extra=np.zeros(1))
    save(tmp_path / "m")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["keys.npy", "manifest.json", "table.npy"]
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_missing_artifact_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"found no manifest\.json: train one"):
        artifact.read_manifest(tmp_path, "session_model")


def test_another_kind_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "m")
    with pytest.raises(ArtifactError, match="expected a reranker artifact, got 'session_model'"):
        artifact.read_manifest(tmp_path / "m", "reranker")


def test_another_format_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "m")
    edit_manifest(tmp_path / "m", format=2)
    with pytest.raises(ArtifactError, match="expected artifact format 1, got 2: train it again"):
        artifact.read_manifest(tmp_path / "m", "session_model")


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "m")
    edit_manifest(tmp_path / "m", dim=3)
    with pytest.raises(ArtifactError, match="edited by hand"):
        artifact.read_manifest(tmp_path / "m", "session_model")


def test_a_damaged_array_is_refused(tmp_path: Path) -> None:
    manifest = save(tmp_path / "m")
    path = tmp_path / "m" / "table.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"expected SHA-256 .* copy the whole artifact again"):
        artifact.read_arrays(tmp_path / "m", manifest, ["table"])


def test_a_missing_array_is_refused(tmp_path: Path) -> None:
    manifest = save(tmp_path / "m")
    (tmp_path / "m" / "table.npy").unlink()
    with pytest.raises(ArtifactError, match="Copy the artifact again"):
        artifact.read_arrays(tmp_path / "m", manifest, ["table"])
    with pytest.raises(ArtifactError, match="names no array 'bias'"):
        artifact.read_arrays(tmp_path / "m", manifest, ["bias"])


def test_pickled_objects_are_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        save(tmp_path / "m", table=np.array([{"a": 1}], object))
    assert list(tmp_path.iterdir()) == []


def edit_manifest(folder: Path, **changes: object) -> None:
    document = orjson.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_bytes(orjson.dumps({**document, **changes}))


def resealed(folder: Path, **changes: object) -> None:
    """Change a manifest as somebody would who knows how its version is made."""
    document = {**orjson.loads((folder / "manifest.json").read_bytes()), **changes}
    entries = {name: artifact.ArrayEntry.model_validate(one) for name, one in document["arrays"].items()}
    document["version"] = artifact._version(document["kind"], document["dim"], entries)
    (folder / "manifest.json").write_bytes(orjson.dumps(document))


def test_a_pickle_in_place_of_an_array_is_refused_whatever_its_checksum(tmp_path: Path) -> None:
    save(tmp_path / "m")
    ran = tmp_path / "ran"

    class Runs:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (ran,)

    for content in (pickle.dumps(Runs()), npy_of_objects(np.array([Runs()], object))):
        (tmp_path / "m" / "table.npy").write_bytes(content)
        arrays = orjson.loads((tmp_path / "m" / "manifest.json").read_bytes())["arrays"]
        arrays["table"]["sha256"] = hashlib.sha256(content).hexdigest()
        resealed(tmp_path / "m", arrays=arrays)
        manifest = artifact.read_manifest(tmp_path / "m", "session_model")
        with pytest.raises(ArtifactError, match=r"is not a plain \.npy array"):
            artifact.read_arrays(tmp_path / "m", manifest, ["table"])
    assert not ran.exists()


def npy_of_objects(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/b", ".."])
def test_names_of_arrays_never_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """What is read is named by the code; a manifest's own names are looked up, never opened or removed."""
    save(tmp_path / "m")
    outside = tmp_path / "outside.npy"
    outside.write_bytes((tmp_path / "m" / "table.npy").read_bytes())
    arrays = orjson.loads((tmp_path / "m" / "manifest.json").read_bytes())["arrays"]
    resealed(tmp_path / "m", arrays={**arrays, name: arrays["table"]})
    manifest = artifact.read_manifest(tmp_path / "m", "session_model")
    assert artifact.read_arrays(tmp_path / "m", manifest, ["keys"])["keys"].tolist() == [1, 2**63]
    save(tmp_path / "m")
    assert outside.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "outside.npy"]
