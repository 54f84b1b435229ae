"""Finds, builds and drives public load tools, on the target that the engine drives, to compare what both say."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
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


class NoTool(Exception):
    """A load tool is not here, and why."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A load tool, and the Go module that it is built from."""

    name: str
    module: str
    """The package of the command."""
    version: str
    of: str = ""
    """The module that the package is in; empty: it is the module itself."""

    @property
    def variable(self) -> str:
        """The environment variable that names one."""
        return f"NEXTCLICK_{self.name.upper()}"

    @property
    def built(self) -> Path:
        """Where it stays once it has been built."""
        return Path.home() / ".cache" / "nextclick" / f"{self.name}-{self.version}"


VEGETA = Tool("vegeta", "github.com/tsenart/vegeta/v12", "v12.8.4")
K6 = Tool("k6", "go.k6.io/k6", "v0.57.0")
BUILD_S = 240.0


def find_tool(tool: Tool) -> str:
    """Return the path of a tool: what its variable names, what is on the path, or what was built. Raises NoTool."""
    found = os.environ.get(tool.variable) or shutil.which(tool.name)
    if found is None and tool.built.exists():
        return str(tool.built)
    if found is None:
        raise NoTool(f"expected {tool.name} on the path, or named by {tool.variable}; there is none")
    return found


def find_or_build(tool: Tool, *, within_s: float = BUILD_S) -> str:
    """Return the path of a tool, built with Go when there is none. Raises NoTool where that cannot be done in time."""
    try:
        return find_tool(tool)
    except NoTool as missing:
        go = shutil.which("go")
        if go is None:
            raise NoTool(f"{missing}, and no Go to build it with") from missing
        _build(tool, go, within_s)
        return str(tool.built)


def _build(tool: Tool, go: str, within_s: float) -> None:
    tool.built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tool.built.parent) as folder:
        (Path(folder) / "go.mod").write_text(
            f"module tools\n\ngo 1.21\n\nrequire {tool.of or tool.module} {tool.version}\n"
        )
        command = [go, "build", "-mod=mod", "-o", tool.name, tool.module]
        building = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "GOWORK": "off"},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, said = building.communicate(timeout=within_s)
        except subprocess.TimeoutExpired as error:
            os.killpg(building.pid, signal.SIGKILL)  # the compilers that it started, too
            building.communicate()
            raise NoTool(f"building {tool.name} {tool.version} took more than {within_s:.0f} s") from error
        if building.returncode != 0:
            raise NoTool(f"building {tool.name} {tool.version} failed: {said.strip()[-400:]}")
        (Path(folder) / tool.name).replace(tool.built)


def vegeta(binary: str, targets: Path, rate: int, seconds: float, connections: int) -> ToolSays:
    """Attack with exported targets at a constant rate. Raises CalledProcessError when vegeta fails."""
    attack = [binary, "attack", "-format=json", "-lazy", f"-targets={targets}", f"-rate={rate}/1s"]
    attack += [f"-duration={seconds:g}s", f"-connections={connections}", f"-workers={connections}"]
    outcome = subprocess.run(attack, capture_output=True, check=True, timeout=seconds + 60)
    reported = subprocess.run([binary, "report", "-type=json"], input=outcome.stdout, capture_output=True, check=True)
    report = orjson.loads(reported.stdout)
    at = report["latencies"]
    return ToolSays(report["requests"], at["50th"] / 1e6, at["99th"] / 1e6, at["max"] / 1e6)
