"""Drives a public load tool on the target that the engine drives, to compare what both say."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import orjson


@dataclass(frozen=True, slots=True)
class ToolSays:
    """Latencies in ms, as another tool measured them."""

    requests: int
    p50: float
    p99: float
    max: float


def find_vegeta() -> str | None:
    """Return the path of vegeta: NEXTCLICK_VEGETA, or what is on the path; None without it."""
    return os.environ.get("NEXTCLICK_VEGETA") or shutil.which("vegeta")


def vegeta(binary: str, targets: Path, rate: int, seconds: float, connections: int) -> ToolSays:
    """Attack with exported targets at a constant rate. Raises CalledProcessError when vegeta fails."""
    attack = [binary, "attack", "-format=json", "-lazy", f"-targets={targets}", f"-rate={rate}/1s"]
    attack += [f"-duration={seconds:g}s", f"-connections={connections}", f"-workers={connections}"]
    outcome = subprocess.run(attack, capture_output=True, check=True, timeout=seconds + 60)
    told = subprocess.run([binary, "report", "-type=json"], input=outcome.stdout, capture_output=True, check=True)
    report = orjson.loads(told.stdout)
    at = report["latencies"]
    return ToolSays(report["requests"], at["50th"] / 1e6, at["99th"] / 1e6, at["max"] / 1e6)
