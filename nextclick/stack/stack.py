"""The embedded stack: a real Redis, the three flows and the gateway on one machine, with one command."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from compiled.cache import progress_shown
from contracts.addresses import MOST_SOCKET_PATH
from contracts.api_keys import VARIABLE as API_KEY
from contracts.errors import SettingsError, StartupError
from contracts.masked import masked
from contracts.observed import serve_metrics
from nextclick.stack.client import Client
from nextclick.stack.other_redis import await_redis
from nextclick.stack.processes import Child, Part, Supervisor
from nextclick.stack.redis_part import RedisPart
from nextclick.stack.settings import OWN_REDIS, StackSettings
from nextclick.stack.stack_figures import FIGURES, watch
from nextclick.stack.stack_folder import expect_stack_folder, make_stack_private
from registry.folder import version_of
from state.embedded import ADDRESS, EmbeddedRedis
from state.erasure_list import NAME
from state.machine_memory import machine_memory
from state.ports import free_port
from state.relay_memory import memory_of, remove_left

if TYPE_CHECKING:  # what ranks is imported where it is needed
    from gateway.settings import GatewayOptions

BUILDER_NICENESS = 5
"""A quarter of a core beside a process that serves and wants it whole."""
RETRAIN_NICENESS = 10
Progress = Callable[[str], None]
"""Called with what is being waited for."""


class Stack:
    """Starts, watches and stops the processes of one machine.

    Every process reads the environment and TOML file that this one reads; what the stack decides (Redis's address,
    the port, the artifacts' absolute path) is handed down in the environment.
    """

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.folder = settings.stack.folder.absolute()
        self.port = settings.stack.port or free_port()
        self.redis: EmbeddedRedis | None = None
        self.supervisor: Supervisor | None = None
        self.api_key: str | None = None
        """What its own clients send; None: what the environment says (`nextclick.stack.own_key`)."""
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """Where the gateway is reached from this machine."""
        return self.settings.own_url(self.port)

    @property
    def redis_url(self) -> str:
        """Where Redis is, with its password: not for logs."""
        return self.redis.url if self.redis else self.settings.redis.url

    @property
    def redis_place(self) -> str:
        """Where Redis is, for people."""
        if self.redis is None:
            return masked(self.settings.redis.url)
        return f"{self.redis.place}   (with its password: {self.redis.folder / ADDRESS})"

    @property
    def running_settings(self) -> StackSettings:
        """The settings with the address of the Redis that runs: what reads its state beside the stack needs."""
        redis = self.settings.redis.model_copy(update=self._redis_settings())
        return self.settings.model_copy(update={"redis": redis})

    @property
    def redis_environment(self) -> dict[str, str]:
        """Variables by which processes find the Redis that runs."""
        return {
            f"NEXTCLICK_REDIS__{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
            for name, value in self._redis_settings().items()
        }

    def _redis_settings(self) -> dict[str, object]:
        """Return what is told of Redis; our own is one, and speaks no TLS, whatever is set for others."""
        told = self.settings.redis.model_dump()
        return {**told, **(OWN_REDIS if self.redis is not None else {}), "url": self.redis_url}

    def child(self, name: str) -> Child:
        """Return one supervised process by name. Raises KeyError."""
        assert self.supervisor is not None
        return {child.name: child for child in self.supervisor.children}[name]

    def start(self, progress: Progress = lambda _: None, timeout_s: float = 60.0) -> Self:
        """Start everything and return once the gateway is ready.

        Raises, with everything stopped, StartupError; SettingsError and ArtifactError where a part would refuse.
        """
        self._expect_what_children_read()
        try:
            expect_port_free(self.settings.stack.host, self.port)
            self._lock = lock_folder(self.folder)
            make_stack_private(self.folder)
            if self.settings.stack.embedded_redis:
                progress("starting Redis")
                options = self.settings.stack
                most = options.redis_max_bytes or machine_memory() // 2
                self.redis = EmbeddedRedis(self.folder / "redis", fsync=options.redis_fsync, max_bytes=most)
                self.redis.start(told=progress)
            else:
                progress("waiting for Redis")
                await_redis(self.settings.redis, timeout_s)
            self._expect_guarded()
            progress("starting the flows and the gateway")
            self.supervisor = Supervisor(self._parts())
            self._serve_metrics()
            self.supervisor.start()
            self._wait_ready(timeout_s, progress)
            self.supervisor.mark_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def start_also(self, settings: StackSettings) -> None:
        """Go on with these settings: start the parts that they ask for and that do not run. Those that run stay."""
        assert self.supervisor is not None
        self.settings = settings
        there = {part.name for part in self.supervisor.parts}
        for child in self._children():
            if child.name not in there:
                self.supervisor.add(child)

    def stop(self) -> None:
        """Stop the gateway, then the flows, then Redis."""
        if self.supervisor is not None:
            self.supervisor.stop()
            self.supervisor = None
            if self.settings.relay.run:  # one that was killed left some
                remove_left(memory_of(self._relay_socket(), self.settings.relay.memory))
        if self.redis is not None:  # stopped with the others, unless they were never started
            self.redis.stop()
            self.redis = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def wait_until_interrupted(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Return on Ctrl-C or SIGTERM. Nothing else ends a stack that was ready. `meanwhile` is called now and then."""
        asked: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: asked.append(number))
        while not asked:
            meanwhile()
            time.sleep(0.2)

    def expect_healthy(self) -> None:
        """Raise StartupError when a part that keeps dying has failed the start. Never once the stack was ready."""
        if self.supervisor is not None:
            self.supervisor.expect_healthy()

    def whose_fault(self) -> str:
        """Return what to look at when something waited for does not come: the parts that are away, or the logs."""
        ailing = self.supervisor.ailing() if self.supervisor is not None else []
        return "; ".join(ailing) or f"see {self.folder / 'logs'}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve_metrics(self) -> None:
        """Show how the parts do, by setting: before they take the ports behind this process's."""
        watch(lambda: [] if self.supervisor is None else list(self.supervisor.parts), self._version or "")
        serve_metrics("up", self.settings.metrics, FIGURES)

    @property
    def _version(self) -> str | None:
        return version_of(self.settings.artifacts) if self.settings.artifacts else None

    def _expect_what_children_read(self) -> None:
        """Refuse here, in one line, what a child would refuse. Raises SettingsError, ArtifactError."""
        from flows.settings import FlowSettings
        from gateway.settings import GatewaySettings
        from session_model.serving import load_tower

        if rules := GatewaySettings().pipeline.rules:
            from rerank.site_rules import load_rules  # imports all that ranks

            load_rules(rules)
        FlowSettings()
        load_tower(self.settings.artifacts, self.settings.text_model)  # only the items flow loads it
        if self.settings.retrain.every:
            from nextclick.stack.retraining import registry_of  # imports what reads the log

            registry_of(self.settings)

    @property
    def asks_keys(self) -> bool:
        """Whether its gateway asks for API keys."""
        return self._gateway_options().asks_keys

    def _gateway_options(self) -> GatewayOptions:
        from gateway.settings import GatewaySettings

        return GatewaySettings().gateway.model_copy(update={"host": self.settings.stack.host})

    def _expect_guarded(self) -> None:
        """Refuse to listen where others reach it while there is no API key. Raises Unguarded."""
        from gateway.exposure import expect_guarded

        expect_guarded(self._gateway_options(), self.running_settings.redis)

    def _wait_ready(self, timeout_s: float, progress: Progress) -> None:
        """Wait for the gateway; as long as one compiles kernels for this machine, longer."""
        until, shown = time.monotonic() + timeout_s, ""
        with Client(self.url) as client:
            while not client.is_ready():
                self.expect_healthy()
                if (compiling := progress_shown()) and compiling != shown:
                    shown, until = compiling, time.monotonic() + timeout_s
                    progress(shown)
                if time.monotonic() > until:
                    raise StartupError(
                        f"the gateway was not ready at {self.url} after {timeout_s:.0f} s"
                        f" ({client.why_not_ready}): {self.whose_fault()}"
                    )
                time.sleep(0.03)

    def _parts(self) -> list[Part]:
        """Return the parts in the order of their start; they stop the other way round."""
        redis: list[Part] = [RedisPart(self.redis)] if self.redis is not None else []
        return [*redis, *self._children()]

    def _children(self) -> list[Child]:
        profiles = [self._flow("profiles")] if self.settings.profile.learn else []
        figures = [self._flow("attribution")] if self.settings.attribution.run else []
        watching = [self._flow("quality")] if self.settings.quality.run else []
        flows = [self._flow("items"), *self._session_workers(), self._trends(), *profiles, *figures, *watching]
        gateway = [sys.executable, "-m", "gateway"]
        gateways = [self._child(f"gateway-{n}", gateway) for n in range(self.settings.stack.gateways)]
        gateways = [*self._shards(), *self._relays(), *gateways]
        beside = [self._builder()] if self._builds_index() else []
        beside += [self._child("judge", [sys.executable, "-m", "judge"])] if self.settings.judge.run else []
        beside += [self._retraining()] if self.settings.retrain.every else []
        return [*flows, *gateways, *beside]

    def _retraining(self) -> Child:
        """Return what trains; everything else goes before it."""
        command = [sys.executable, "-m", "nextclick.stack.retraining", str(self.folder / "logs")]
        return self._child("retrain", command, niceness=RETRAIN_NICENESS)

    def _builder(self) -> Child:
        """Return what builds snapshots; whatever serves goes before it where the cores are full."""
        return self._child("index", [sys.executable, "-m", "retrieval.builder"], niceness=BUILDER_NICENESS)

    def _shards(self) -> list[Child]:
        """Return the shards of the index; those with addresses of their own are started by somebody else."""
        index = self.settings.index
        count = 0 if index.shard_addresses else index.shards
        return [
            self._child(f"index-shard-{n}", [sys.executable, "-m", "retrieval.shard", str(n)]) for n in range(count)
        ]

    def _relays(self) -> list[Child]:
        """Return what brings the trends to all gateways; beside these, as they do without it."""
        return [self._child("relay", [sys.executable, "-m", "state.relay"])] if self.settings.relay.run else []

    def _relay_socket(self) -> str:
        """Return where gateways find the relay, of somebody else or our own. Raises SettingsError."""
        relay, own = self.settings.relay, str(self.folder / "relay.sock")
        if relay.socket or not relay.run:
            return relay.socket
        if len(own.encode()) > MOST_SOCKET_PATH:
            raise SettingsError(f"relay.socket: name a path of at most {MOST_SOCKET_PATH} bytes, as {own} is longer")
        return own

    def _builds_index(self) -> bool:
        return self.settings.index.builder and bool(self.settings.artifacts)

    def _index_folder(self) -> str:
        """Return where snapshots go: the setting's folder, or the stack's own when there is a builder, or shards, whose
        sockets are beside it.
        """
        index = self.settings.index
        if index.folder or not (self._builds_index() or index.shards):
            return index.folder
        return str(self.folder / "index")

    def _flow(self, name: str, *arguments: str, as_name: str | None = None) -> Child:
        command = [sys.executable, "-m", "bytewax.run", f"flows.{name}:flow", *arguments]
        return self._child(as_name or name, command)

    def _trends(self) -> Child:
        return self._child("trends", [sys.executable, "-m", "flows.run_trends", str(self.folder / "trends")])

    def _session_workers(self) -> list[Child]:
        count = self.settings.stack.session_workers
        if count == 1:
            return [self._flow("sessions")]
        addresses = ";".join(f"127.0.0.1:{free_port()}" for _ in range(count))
        workers = [self._flow("sessions", "-i", str(n), "-a", addresses, as_name=f"sessions-{n}") for n in range(count)]
        return [replace(worker, cluster="sessions") for worker in workers]

    def _child(self, name: str, command: list[str], niceness: int = 0) -> Child:
        log = self.folder / "logs" / f"{name}.log"
        return Child(name, command, self._environment(), log, niceness=niceness)

    def _environment(self) -> dict[str, str]:
        settings = self.settings
        artifacts = str(Path(settings.artifacts).absolute()) if settings.artifacts else ""
        index = settings.index.model_dump(mode="json")
        judge, retrain = settings.judge.model_dump(mode="json"), settings.retrain.model_dump(mode="json")
        return {
            **{name: value for name, value in os.environ.items() if name != API_KEY},
            **self.redis_environment,
            "NEXTCLICK_ARTIFACTS": artifacts,
            **{f"NEXTCLICK_INDEX__{name.upper()}": str(value) for name, value in index.items()},
            "NEXTCLICK_INDEX__FOLDER": self._index_folder(),
            "NEXTCLICK_RELAY__SOCKET": self._relay_socket(),
            "NEXTCLICK_RELAY__MEMORY": self.settings.relay.memory,
            **{f"NEXTCLICK_JUDGE__{name.upper()}": str(value) for name, value in judge.items()},
            **{f"NEXTCLICK_RETRAIN__{name.upper()}": str(value) for name, value in retrain.items()},
            **{f"NEXTCLICK_LOG__{name.upper()}": str(value) for name, value in settings.log.model_dump().items()},
            "NEXTCLICK_JUDGE__GATEWAY": self.url,
            "NEXTCLICK_ERASURE__LIST": settings.erasure.list or str(settings.stack.folder.absolute() / NAME),
            "NEXTCLICK_QUALITY__RUN": str(settings.quality.run).lower(),
            "NEXTCLICK_GATEWAY__HOST": settings.stack.host,
            "NEXTCLICK_GATEWAY__PORT": str(self.port),
            "NEXTCLICK_GATEWAY__PROCESSES": "1",
            "NEXTCLICK_GATEWAY__TOGETHER": str(settings.stack.gateways),
            "NEXTCLICK_GATEWAY__DEMO_PAGE": str(settings.stack.demo_page).lower(),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }


def expect_port_free(host: str, port: int) -> None:
    """Raise StartupError when something listens on the port (our own gateways may share one, so ask before)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartupError(f"{host}:{port} cannot be listened on ({error}): choose another with --port") from error


def lock_folder(folder: Path) -> IO[str]:
    """Take the stack's folder for this process; hold the returned file open. Raises StartupError when it is taken."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        expect_stack_folder(folder)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise StartupError(f"expected a folder that can be written at {folder}, got {error}: choose another") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StartupError(
            f"another stack runs in {folder}: stop it, or choose another folder with --folder"
        ) from error
    return lock
