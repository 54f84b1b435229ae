"""Processes of two releases beside each other, on one Redis and one log."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from contracts.settings import AttributionOptions, LogSettings, RedisSettings, ServiceSettings
from gateway.listeners import listening
from nextclick.stack.shop_models import ARTIFACTS
from tests.gateway.test_main import status
from tests.receiver import Receiver
from tests.releases.last import ROOT, environment_of
from tests.releases.traffic import Traffic

SECRET: Final = "a secret of the shop"


class Side:
    """Processes of one release."""

    def __init__(self, folder: Path, redis: RedisSettings, log: LogSettings, more: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {
            **environment_of(folder),
            "NEXTCLICK_REDIS__URL": redis.url,
            "NEXTCLICK_REDIS__PREFIX": redis.prefix,
            "NEXTCLICK_LOG__KIND": log.kind,
            "NEXTCLICK_LOG__KAFKA": log.kafka,
            "NEXTCLICK_LOG__TOPIC_PREFIX": log.topic_prefix,
            "NEXTCLICK_LOG__PARTITIONS": str(log.partitions),
            "NEXTCLICK_ARTIFACTS": str(ARTIFACTS),
            "NEXTCLICK_ATTRIBUTION__RUN": "true",
            "NEXTCLICK_GATEWAY__DEADLINE_MS": "10000",
            "NEXTCLICK_GATEWAY__VISIBLE_WAIT_MS": "110000",  # as long as no flow applies changes, on a busy machine
            **more,
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str, port: int = 0) -> None:
        environment = {**self._environment, "NEXTCLICK_GATEWAY__PORT": str(port)}
        command = (sys.executable, "-P", "-m", *command)
        self.running[name] = subprocess.Popen(command, env=environment, cwd=self._folder)

    def start_flow(self, name: str) -> None:
        self.start(name, "nextclick", "flow", name)

    async def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 120) == 0

    def kill(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


def webhooks_to(receiver: Receiver) -> dict[str, str]:
    """Return settings with which the shop's server is called, and called again soon where it does not take a call."""
    return {
        "NEXTCLICK_WEBHOOKS__URL": receiver.url,
        "NEXTCLICK_WEBHOOKS__ALLOW": f'["http://127.0.0.1:{receiver.port}"]',
        "NEXTCLICK_WEBHOOKS__SECRETS": f'["{SECRET}"]',
        "NEXTCLICK_WEBHOOKS__FIRST_PAUSE": "PT0.2S",
        "NEXTCLICK_WEBHOOKS__LONGEST_PAUSE": "PT2S",
        "NEXTCLICK_WEBHOOKS__ATTEMPTS": "100",
    }


def settings_of(redis: RedisSettings, log: LogSettings) -> ServiceSettings:
    """Return what reads the log and state beside them."""
    return ServiceSettings(redis=redis, log=log, artifacts=str(ARTIFACTS), attribution=AttributionOptions(run=True))


@contextmanager
def sides(
    last: Path, redis: RedisSettings, log: LogSettings, more: Mapping[str, str] | None = None
) -> Iterator[tuple[Side, Side]]:
    old, new = (Side(folder, redis, log, more or {}) for folder in (last, ROOT))
    try:
        yield old, new
    finally:
        old.kill()
        new.kill()


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 240) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"gave up waiting: {what}"
        await asyncio.sleep(0.05)


async def ready(port: int, side: Side) -> None:
    def is_ready() -> bool:
        return listening(port) not in (0, None) and status(port, "/readyz") == 200

    end = time.monotonic() + 240
    while not await asyncio.to_thread(is_ready):
        assert time.monotonic() < end, "the gateway is not ready"
        assert [name for name, process in side.running.items() if process.poll() is not None] == []
        await asyncio.sleep(0.05)


async def flows_change(flows: tuple[str, ...], away: Side, to: Side, traffic: Traffic) -> None:
    """One flow after the other: its old process ends, then its new one begins. Traffic goes on."""
    for name in flows:
        await away.stop(name)
        await traffic.more(2)
        to.start_flow(name)
    fresh = traffic.outcomes["fresh"]
    await until(lambda: traffic.outcomes["fresh"] >= fresh + 20, "answers know of their clicks again")
