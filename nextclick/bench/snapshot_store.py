"""A gateway of a machine that has nothing: its index built here, or fetched from an object store. And what a second one
adds to a machine.

    python -m nextclick.bench.snapshot_store [--items 100000] [--store URL] [--runs 1]

The catalogue is in Redis already, vectors too. Each start is measured from an empty folder: until a snapshot serves,
and from there until the gateway answers; the third way is a gateway without a folder, which reads all rows and builds
its graph in its own memory. Private memory is that of `/proc/PID/smaps_rollup`, of two gateways on one snapshot, once
each has answered.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson

from contracts.codec import encode_row
from contracts.errors import NextclickError
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item
from contracts.keys import CATALOGUE
from contracts.settings import RedisSettings
from nextclick.bench.report import BenchRow, console, expect_bench, finish, medians
from nextclick.bench.vectors import clustered
from nextclick.stack.shop_models import ARTIFACTS
from retrieval.snapshot import read_manifest, read_pointer
from retrieval.snapshot_store import SnapshotStore
from session_model.serving import load_tower
from state.embedded import EmbeddedRedis
from state.ports import free_port
from state.tables import TableWriter

AT_ONCE = 1000
GIVE_UP_S = 900.0
LOOK_S = 0.02
TARGET_S = 30.0
MB = 1 << 20


def fill(redis: RedisSettings, items: int) -> None:
    """Put items with vectors of the shop's tower into the catalogue table."""
    tower, writer = load_tower(str(ARTIFACTS)), TableWriter(redis, CATALOGUE)
    vectors = clustered(items, seed=4)[:, : tower.dim].copy()
    vectors /= (vectors**2).sum(axis=1, keepdims=True) ** 0.5
    for at in range(0, items, AT_ONCE):
        rows = {}
        for n in range(at, min(items, at + AT_ONCE)):
            item = Item(title=f"Item {n} of a shop", category=f"c{n % 40}/s{n % 900}", price=10 + n % 90, brand="b")
            row = CatalogueRow(f"i-{n}", item, 9, 1_767_225_600_000 + n, tower.version, vectors[n].tobytes())
            rows[item_key(row.item_id).to_bytes(8, "little")] = encode_row(row)
        writer.commit(rows)
    writer.close()


@contextmanager
def running(module: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", module], env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def until_published(folder: Path, began_s: float) -> float:
    """Return after so many seconds a snapshot serves."""
    while read_pointer(folder).current is None:
        _expect_in_time(began_s)
        time.sleep(LOOK_S)
    return time.monotonic() - began_s


def until_answered(port: int, began_s: float) -> float:
    """Return after so many seconds a gateway answers a recommendation."""
    while not _answers(port):
        _expect_in_time(began_s)
        time.sleep(LOOK_S)
    return time.monotonic() - began_s


def _expect_in_time(began_s: float) -> None:
    if time.monotonic() - began_s > GIVE_UP_S:
        raise NextclickError(f"expected an answer within {GIVE_UP_S:g} s, got none: see what the processes said above")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = orjson.dumps({"session_id": "a-new-one"})
    try:
        connection.request("POST", "/api/recommendations/homepage", body, {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def private_mb(pid: int) -> tuple[float, float]:
    """Return a process's private and shared memory, MB."""
    found: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, _ = line.split()
        found[name] = int(size)
    private = found["Private_Clean:"] + found["Private_Dirty:"]
    return private / 1024, (found["Rss:"] - private) / 1024


def start(name: str, common: Mapping[str, str], folder: Path, more: Mapping[str, str]) -> list[BenchRow]:
    """Measure a machine's start from an empty folder, with a builder that builds or fetches."""
    environment = {**common, "NEXTCLICK_INDEX__FOLDER": str(folder), **more}
    began_s = time.monotonic()
    with running("retrieval.builder", environment):
        published_s = until_published(folder, began_s)
    port = free_port()
    began_s = time.monotonic()
    with running("gateway", {**environment, "NEXTCLICK_GATEWAY__PORT": str(port)}):
        answered_s = until_answered(port, began_s)
    return [
        BenchRow(f"{name}: until a snapshot serves", published_s, "s", TARGET_S if name == "fetched" else None),
        BenchRow(f"{name}: from there until the gateway answers", answered_s, "s"),
    ]


def start_alone(common: Mapping[str, str]) -> list[BenchRow]:
    port, began_s = free_port(), time.monotonic()
    with running("gateway", {**common, "NEXTCLICK_GATEWAY__PORT": str(port)}) as process:
        took_s = until_answered(port, began_s)
        private, _ = private_mb(process.pid)
    return [
        BenchRow("no folder: until the gateway answers", took_s, "s"),
        BenchRow("no folder: private memory of the gateway", private, "MB"),
    ]


def two_on_one(common: Mapping[str, str], folder: Path) -> list[BenchRow]:
    """Measure what two gateways of one snapshot have for themselves, and what they share."""
    ports = free_port(), free_port()
    environments = [
        {**common, "NEXTCLICK_INDEX__FOLDER": str(folder), "NEXTCLICK_GATEWAY__PORT": str(port)} for port in ports
    ]
    with running("gateway", environments[0]) as first, running("gateway", environments[1]) as second:
        for port in ports:
            until_answered(port, time.monotonic())
        rows = []
        for name, process in (("first", first), ("second", second)):
            private, shared = private_mb(process.pid)
            rows.append(BenchRow(f"two gateways, the {name}: private memory", private, "MB"))
            rows.append(BenchRow(f"two gateways, the {name}: shared memory", shared, "MB"))
    manifest = read_manifest(folder / str(read_pointer(folder).current))
    size = sum(entry.bytes for entry in manifest.files.values())
    return [*rows, BenchRow("snapshot on disk", size / MB, "MB")]


def measure(redis: RedisSettings, url: str, folder: Path) -> list[BenchRow]:
    common = {
        "NEXTCLICK_REDIS__URL": redis.url,
        "NEXTCLICK_REDIS__PREFIX": redis.prefix,
        "NEXTCLICK_ARTIFACTS": str(ARTIFACTS),
    }
    built, fetched = folder / "built", folder / "fetched"
    store = {"NEXTCLICK_INDEX__STORE": url, "NEXTCLICK_INDEX__FROM_STORE": "true"}
    rows = start("built", common, built, {})
    began_s = time.monotonic()
    SnapshotStore(url).push(built)
    rows.append(BenchRow("pushed in", time.monotonic() - began_s, "s"))
    rows += start("fetched", common, fetched, store)
    return [*rows, *start_alone(common), *two_on_one(common, fetched)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextclick.bench.snapshot_store", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--store", default="", help="an object store; a folder of its own when left out")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    expect_bench("snapshot-store")
    with tempfile.TemporaryDirectory(prefix="nextclick-bench-") as name, EmbeddedRedis(Path(name) / "redis") as server:
        redis = RedisSettings(url=server.url, timeout_ms=60_000)
        with console.status("filling the catalogue"):
            fill(redis, options.items)
        found = []
        for run in range(options.runs):
            folder = Path(name) / str(run)
            found.append(measure(redis, options.store or f"file://{folder}/bucket", folder))
    told = f"--items {options.items} --runs {options.runs}"
    finish("snapshot-store", medians(found), f"make bench-snapshot-store ARGS='{told}'")


if __name__ == "__main__":
    main()
