"""A real Apache Kafka for tests: fetched through Maven once, started in KRaft mode on loopback, killed and restarted.

`NEXTCLICK_KAFKA=host:port` uses a running broker instead. Without a JVM, Maven or a registry to fetch from, tests
that need Kafka skip and say why; `NEXTCLICK_REQUIRE_KAFKA=1` makes that a failure.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

with warnings.catch_warnings():  # kafka-python reads its protocol files in a way that Python 3.11 has deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

from contracts.settings import LogSettings
from state.ports import free_port

KAFKA_VERSION = "4.1.0"
_START_S = 150.0

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>nextclick</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/log
log.retention.ms=-1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
metadata.max.idle.interval.ms=0
num.network.threads=2
num.io.threads=2
"""


class NoKafka(Exception):
    """There is no broker here, and why."""


def kafka_jars() -> Path:
    """Return the folder of Kafka's jars, fetched through Maven on first use. Raises NoKafka."""
    folder = Path.home() / ".cache" / "nextclick" / f"kafka-{KAFKA_VERSION}"
    if folder.exists():
        return folder
    if shutil.which("java") is None or shutil.which("mvn") is None:
        raise NoKafka("expected java (17 or newer) and mvn on the path; or set NEXTCLICK_KAFKA to a running broker")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        (Path(work) / "pom.xml").write_text(_POM)
        fetched = subprocess.run(
            ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=jars", "-DincludeScope=runtime"],
            cwd=work,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if fetched.returncode != 0:
            raise NoKafka(f"Maven could not fetch Kafka {KAFKA_VERSION}: {fetched.stdout[-600:]}")
        try:
            (Path(work) / "jars").rename(folder)
        except OSError:  # another run was first
            if not folder.exists():
                raise
    return folder


class KafkaBroker:
    """One Kafka process, broker and controller at once, on free loopback ports, its log in `folder`."""

    def __init__(self, folder: Path, more: str = "", formatted_with: Sequence[str] = ()) -> None:
        """`more` are further properties, of which the last of a name counts, with `{port}` and `{controller}` for ours;
        `formatted_with` further arguments of the storage tool.
        """
        self.folder = folder
        self.port = free_port()
        self._formatted_with = formatted_with
        self._properties = folder / "server.properties"
        ports = {"port": self.port, "controller": free_port(), "folder": folder}
        self._properties.write_text((_PROPERTIES + more).format(**ports))
        self._java = [
            *("java", "-Xmx512m", "-Xms256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{kafka_jars()}/*"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def format(self) -> None:
        """Prepare an empty log. Once, before the first start."""
        cluster = "bmV4dGNsaWNrLXRlc3RzMQ"  # any 16 bytes
        tool = [*self._java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties)]
        tool += self._formatted_with
        done = subprocess.run(tool, capture_output=True, text=True, timeout=150, check=False)
        if done.returncode != 0:
            raise NoKafka(f"Kafka's storage could not be formatted: {(done.stdout + done.stderr)[-600:]}")

    def start(self) -> None:
        """Start the broker and return once it answers. Raises NoKafka with the end of its output."""
        output = self.folder / "kafka.out"
        with output.open("ab") as sink:
            self._process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self._properties)], stdout=sink, stderr=sink, start_new_session=True
            )
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
                with KafkaAdminClient(bootstrap_servers=self.address, bootstrap_timeout_ms=1000) as admin:
                    admin.describe_cluster()
                    return
            except (KafkaError, OSError):
                time.sleep(0.2)
        self.kill()
        raise NoKafka(f"Kafka did not answer within {_START_S:.0f} s: {output.read_text(errors='replace')[-800:]}")

    def kill(self) -> None:
        """Kill the broker as a crash would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker | None]:
    """The run's broker; None when NEXTCLICK_KAFKA names one that is not ours to kill."""
    # pytest keeps log records, and kafka-python's hold on to the sockets of refused connections
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    if os.environ.get("NEXTCLICK_KAFKA"):
        yield None
        return
    try:
        broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
        broker.format()
        broker.start()
    except NoKafka as reason:
        if os.environ.get("NEXTCLICK_REQUIRE_KAFKA") == "1":
            pytest.fail(f"NEXTCLICK_REQUIRE_KAFKA is set, but there is no Kafka: {reason}")
        pytest.skip(f"no Kafka: {reason}")
    yield broker
    broker.kill()


@pytest.fixture
def kafka_log_settings(kafka_broker: KafkaBroker | None) -> Iterator[LogSettings]:
    """Settings of a Kafka log whose topics no other test uses."""
    address = kafka_broker.address if kafka_broker else os.environ["NEXTCLICK_KAFKA"]
    yield LogSettings(kind="kafka", kafka=address, topic_prefix=f"t{uuid.uuid4().hex[:12]}.", partitions=4)
    with warnings.catch_warnings():  # kafka-python leaves the sockets of refused connections to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
