"""A stack under chaos: `nextclick up` as a process of its own, its parts found by what they run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from contracts.settings import (
    AttributionOptions,
    LogSettings,
    RedisSettings,
    ServiceSettings,
    SessionSettings,
    TrendOptions,
)
from nextclick.stack.client import Client
from nextclick.stack.shop_models import ARTIFACTS
from replay.synthetic.shoppers import default_shop
from state.embedded import ADDRESS
from state.ports import free_port
from tests.kafka_broker import KafkaBroker
from tests.processes import descendants_of

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
ITEMS = 600
KEPT = 10_000_000
"""Records: the reference reads the whole log."""
SLOTS = 100_000_000
"""So many that hardly two sessions share one."""

PARTS = {
    "sessions": "flows.sessions:flow",
    "trends": "flows.run_trends",
    "items": "flows.items:flow",
    "profiles": "flows.profiles:flow",
    "attribution": "flows.attribution:flow",
    "builder": "retrieval.builder",
    "gateway": "-m gateway",
    "redis": "redis-server",
}
"""What a part's command line holds."""
WORKERS = ("sessions", "trends", "items", "profiles", "attribution", "builder")


class GaveUp(Exception):
    """Something that was waited for did not come."""


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str) -> float:
    """Return after how many seconds the condition held. Raises GaveUp."""
    began_s = time.monotonic()
    while not condition():
        if time.monotonic() - began_s > timeout_s:
            raise GaveUp(f"expected {what} within {timeout_s:.0f} s")
        time.sleep(0.01)
    return time.monotonic() - began_s


@dataclass(slots=True)
class Running:
    """One stack in a folder. `broker` is its log, or None for the Redis log."""

    folder: Path
    broker: KafkaBroker | None = None
    gateways: int = 2
    session_workers: int = 2
    topic_prefix: str = "chaos."
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return once it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", "nextclick", "up", "--folder", str(self.folder / "stack")),
            *("--port", str(self.port), "--artifacts", str(ARTIFACTS), "--gateways", str(self.gateways)),
            *("--session-workers", str(self.session_workers)),
        ]
        with (self.folder / "up.log").open("ab") as out:
            self.process = subprocess.Popen(command, env=self.environment, cwd=ROOT, stdout=out, stderr=out)
        with Client(f"http://127.0.0.1:{self.port}", timeout_s=5) as client:
            wait_for(lambda: self._is_up() and client.is_ready(), 120, "the stack")

    def stop(self) -> None:
        """Stop it in order."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def load_items(self) -> list[str]:
        """Load items of the demo's shop; returns their ids."""
        shop = default_shop()
        chosen = shop.items[:: max(1, len(shop.items) // ITEMS)][:ITEMS]
        lines = [orjson.dumps({"item_id": name, **item.model_dump(exclude_none=True)}) for name, item in chosen]
        with Client(f"http://127.0.0.1:{self.port}", timeout_s=60) as client:
            answer = client.put_items(lines)
        if not answer["visible"]:
            raise GaveUp(f"expected the items to be visible, got {answer}")
        return [name for name, _ in chosen]

    @property
    def environment(self) -> dict[str, str]:
        ours = {
            "NEXTCLICK_REDIS__TIMEOUT_MS": "2000",
            "NEXTCLICK_GATEWAY__MAX_AGE": "P3650D",
            "NEXTCLICK_INDEX__MIN_ITEMS": "500",
            "NEXTCLICK_ATTRIBUTION__RUN": "true",
            "NEXTCLICK_TREND__SESSIONS": str(SLOTS),
            "NEXTCLICK_TREND__EMIT_INTERVAL_MS": "500",
            "NEXTCLICK_TREND__SHOWINGS_INTERVAL_MS": "500",
            **{f"NEXTCLICK_LOG__{name.upper()}": str(value) for name, value in self._log.model_dump().items()},
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("NEXTCLICK_")}
        kernels = {name: os.environ[name] for name in ("NEXTCLICK_KERNEL_CACHE",) if name in os.environ}
        return {**clean, **kernels, **ours, "PYTHONPATH": str(ROOT)}

    @property
    def worker_environment(self) -> dict[str, str]:
        """What a worker needs that is started beside the stack."""
        ours = {"NEXTCLICK_REDIS__URL": self._redis_url, "NEXTCLICK_ARTIFACTS": str(ARTIFACTS)}
        return {**self.environment, **ours, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    @property
    def settings(self) -> ServiceSettings:
        """What reads its log and state beside it."""
        return ServiceSettings(
            redis=RedisSettings(url=self._redis_url, timeout_ms=10_000),
            log=self._log,
            session=SessionSettings(),
            trend=TrendOptions(sessions=SLOTS),
            attribution=AttributionOptions(run=True),
            artifacts=str(ARTIFACTS),
        )

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def redis_folder(self) -> Path:
        return self.folder / "stack" / "redis"

    def pids(self, part: str) -> list[int]:
        """Return the processes of a part that run now, in order of their ids."""
        if self.process is None:
            return []
        return sorted(pid for pid in descendants_of(self.process.pid) if PARTS[part] in _command_of(pid))

    def kill_supervisor(self) -> None:
        """Kill `up` itself, and return once everything that it started is gone too."""
        assert self.process is not None
        below = descendants_of(self.process.pid)
        self.process.kill()
        self.process.wait()
        self.process = None
        wait_for(lambda: not any(_command_of(pid) for pid in below), 30, "the kernel to end what a killed `up` started")

    @property
    def _redis_url(self) -> str:
        return (self.redis_folder / ADDRESS).read_text().strip()

    @property
    def _log(self) -> LogSettings:
        if self.broker is None:
            return LogSettings(partitions=PARTITIONS, kept_records=KEPT)
        return LogSettings(
            kind="kafka", kafka=self.broker.address, topic_prefix=self.topic_prefix, partitions=PARTITIONS
        )

    def _is_up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise GaveUp(f"`nextclick up` ended: {(self.folder / 'up.log').read_text(errors='replace')[-1500:]}")
        return True


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _command_of(pid: int) -> str:
    """Return a process's command line; nothing for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def started_beside(command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start one of our programs beside the stack."""
    with log.open("ab") as out:
        return subprocess.Popen([sys.executable, *command], env=environment, cwd=ROOT, stdout=out, stderr=out)
