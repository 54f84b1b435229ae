"""Object files of kernels in the cache folder: each known by all that it was made from, and by its own checksum."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from compiled.declared import Source


class Store:
    """Reads and writes them. Whatever is wrong with a file or the disk means that a kernel is compiled again."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, source: Source) -> bytes | None:
        """Return a kernel's object file; None where it is not there, or damaged: that would end the process."""
        path = self._path(source)
        if path is None:
            return None
        try:
            if not path.is_file():  # a pipe would be waited for, a device read for ever
                return None
            found = path.read_bytes()
        except OSError:
            return None
        digest, code = found[:32], found[32:]
        return code if hashlib.sha256(code).digest() == digest else None

    def write(self, source: Source, code: bytes) -> None:
        """Keep it, whole or not at all; a full disk keeps nothing."""
        path = self._path(source)
        if path is not None:
            part = path.with_suffix(f".{os.getpid()}.part")
            with suppress(OSError):
                part.write_bytes(hashlib.sha256(code).digest() + code)
                os.replace(part, path)

    def _path(self, source: Source) -> Path | None:
        if self._folder is None:
            return None
        made_from = (
            source.name,
            repr([(str(np.dtype(one.dtype).descr), one.ndim, one.writes) for one in source.arguments]),
            repr(sorted(source.fastmath)),
            _file_digest(source.function.__code__.co_filename),
            _tools(),
        )
        digest = hashlib.sha256("\n".join(made_from).encode()).hexdigest()[:16]
        return self._folder / f"{source.name}-{digest}.o"


@cache
def _file_digest(path: str) -> str:
    with suppress(OSError):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return ""


@cache
def _tools() -> str:
    from compiled.machine import processor

    versions = [f"{name} {metadata.version(name)}" for name in ("numba", "llvmlite", "numpy")]
    return " ".join([*versions, sys.version, processor()])
