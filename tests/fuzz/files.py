"""Inputs as files: in a folder of this process, in memory where the machine has one."""

from __future__ import annotations

import atexit
import gzip
import shutil
import tempfile
from functools import cache
from pathlib import Path

import zstandard

from contracts.errors import ImportFormatError
from eventlog.files import read_events
from replay.importers import Importer, import_log
from tests.fuzz.target import Target

_MEMORY = Path("/dev/shm")


@cache
def folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="nextclick-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def written(name: str, raw: bytes) -> Path:
    """Return a file that holds the input, in place of the last one of that name."""
    path = folder() / name
    path.write_bytes(raw)
    return path


def importing(importer: Importer, valid: dict[str, bytes], suffix: str, words: tuple[bytes, ...] = ()) -> Target:
    """Return the target of an importer: what it makes of a file are events that everybody takes."""
    inside = f"in{suffix}"

    def check(raw: bytes) -> None:
        out = folder() / "out.jsonl"
        out.unlink(missing_ok=True)
        source = written(inside, raw)
        try:
            imported = import_log(importer, source, out)
        except ImportFormatError:
            assert not out.exists()
            raise
        str([str(problem) for problem in imported.problems]).encode()
        assert len(list(read_events(out))) == imported.header.events

    return Target(
        check,
        valid,
        code=(type(importer).__module__, "replay.importers", "eventlog.files", "eventlog.packed"),
        refusals=(ImportFormatError,),
        words=words,
    )


def packed(raw: bytes) -> dict[str, bytes]:
    return {"plain": raw, "zstd": zstandard.compress(raw), "gzip": gzip.compress(raw, mtime=0)}
