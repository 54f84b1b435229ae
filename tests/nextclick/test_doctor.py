"""`nextclick doctor`: each fault has its line and no other, and nothing ends it with a traceback."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from typer.testing import CliRunner

from contracts.clock import wall_clock_ms
from contracts.keys import UNSYNCED, Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter, Record, Topic
from eventlog.kafka_client import ensure_topics, found_topics
from eventlog.redis_log import RedisLogWriter
from nextclick.cli import build_app
from nextclick.stack.doctor.checks import Finding, findings
from nextclick.stack.doctor.facts import (
    DiskFacts,
    Facts,
    FeedFacts,
    FlowFacts,
    GatewayFacts,
    IndexFacts,
    ModelFacts,
    TopicFacts,
)
from nextclick.stack.doctor.gather import Gathering, gateway_at, gather, missing_packages, wanted_parts
from nextclick.stack.doctor.look_files import index_at, leftovers, models_at, open_files
from nextclick.stack.doctor.look_flows import flow_facts
from nextclick.stack.settings import StackSettings, with_given
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import Stack, lock_folder
from nextclick.stack.stack_processes import part_of
from registry.folder import Registry
from state.client import connect
from state.embedded import EmbeddedRedis
from state.health import RedisHealth, redis_health
from state.read_progress import ReadProgress
from state.restore_mark import RestoreMark, Step
from tests.nextclick.backup_parts import NOW_MS, at, deployment

URL = "http://127.0.0.1:8080"
FLOWS = ("items", "sessions", "trends")
PARTS = frozenset({*FLOWS, "redis", "gateway"})
REDIS = RedisHealth("7.0.15", None, None, 10, 100, "volatile-lru", True, 0, 8)
WELL = Facts(
    Path("/stack"),
    URL,
    (3, 11),
    runs=True,
    parts=PARTS,
    wanted_parts=PARTS,
    disk=DiskFacts(Path("/stack"), 50, 100),
    gateway=GatewayFacts(URL, True, True, True, version="one"),
    redis=REDIS,
    partitions=8,
    topics=(TopicFacts("clicks", 8),),
    flows=tuple(FlowFacts(name, 0, 0) for name in FLOWS),
    models=ModelFacts("models/serving", serving="one"),
    index=IndexFacts(Path("/stack/index")),
)


def test_every_part_that_the_stack_starts_is_wanted_and_known_by_its_command_line(tmp_path: Path) -> None:
    on = ("attribution.run", "judge.run", "quality.run", "profile.learn", "index.builder", "relay.run")
    given = {"stack.folder": tmp_path, "artifacts": str(tmp_path), "retrain.every": "P1D", **dict.fromkeys(on, True)}
    settings = with_given(StackSettings(), given)
    children = Stack(settings)._children()
    names = {child.name.partition("-")[0] for child in children}
    assert {part_of([word.encode() for word in child.command]) for child in children} == names
    assert wanted_parts(settings, embedded=True, builds=True) == names | {"redis"}


def test_shards_of_the_index_are_wanted_where_the_stack_starts_them(tmp_path: Path) -> None:
    here = with_given(StackSettings(), {"stack.folder": tmp_path, "index.shards": 2})
    away = with_given(here, {"index.shard_addresses": "10.0.0.1:7001,10.0.0.2:7001"})
    shards = [child for child in Stack(here)._children() if child.name.startswith("index-shard")]
    assert [child.name for child in shards] == ["index-shard-0", "index-shard-1"]
    assert {part_of([word.encode() for word in child.command]) for child in shards} == {"index-shard"}
    assert shards[0].env["NEXTCLICK_INDEX__FOLDER"] == str(tmp_path / "index")  # the sockets are beside it
    assert "index-shard" in wanted_parts(here, embedded=True, builds=False)
    assert not [child for child in Stack(away)._children() if child.name.startswith("index-shard")]
    assert "index-shard" not in wanted_parts(away, embedded=True, builds=False)


def test_nothing_is_said_of_a_stack_that_is_well() -> None:
    assert findings(WELL) == []


@pytest.mark.parametrize(
    ("changed", "name", "level"),
    [
        ({"python": (3, 9)}, "python", "wrong"),
        ({"missing_packages": ("redis",)}, "packages", "wrong"),
        ({"feeds": (FeedFacts("shop", "held", "it lost 40%"), FeedFacts("b", "applied", ""))}, "feed shop", "warning"),
        ({"feeds": (FeedFacts("shop", "failed", "got 404"),)}, "feed shop", "warning"),
        ({"disk": DiskFacts(Path("/"), 4, 100)}, "disk", "warning"),
        ({"disk": DiskFacts(Path("/"), 0, 100)}, "disk", "wrong"),
        ({"redis": replace(REDIS, version="5.0.7")}, "redis version", "wrong"),
        ({"redis": replace(REDIS, refuses="OOM command not allowed")}, "redis writes", "wrong"),
        ({"redis": replace(REDIS, used_bytes=91)}, "redis memory", "warning"),
        ({"redis": replace(REDIS, unsynced="no room")}, "redis files", "wrong"),
        ({"redis": replace(REDIS, policy="allkeys-lru")}, "redis policy", "wrong"),
        ({"redis": replace(REDIS, keeps_file=False)}, "redis file", "warning"),
        ({"redis": replace(REDIS, ahead_ms=-2001)}, "clock", "wrong"),
        ({"redis": replace(REDIS, partitions=16)}, "partitions", "wrong"),
        ({"topics": (TopicFacts("clicks", 6),)}, "partitions", "wrong"),
        ({"log_away": "refused"}, "log", "wrong"),
        ({"parts": PARTS - {"trends"}, "flows": (FlowFacts("trends", 9, 0),)}, "part trends", "wrong"),
        ({"parts": PARTS - {"gateway"}, "gateway": GatewayFacts(URL, False)}, "part gateway", "wrong"),
        ({"flows": (FlowFacts("sessions", 5, 0),)}, "flow sessions", "wrong"),
        ({"flows": (FlowFacts("sessions", 10_001, 7),)}, "flow sessions", "warning"),
        ({"flows": (FlowFacts("trends", 0, 0, lost=3),)}, "flow trends lost", "warning"),
        ({"gateway": GatewayFacts(URL, False, why="refused")}, "gateway", "wrong"),
        ({"gateway": GatewayFacts(URL, True, True, False, "loading")}, "gateway ready", "wrong"),
        ({"gateway": GatewayFacts(URL, True, False, None, "HTML")}, "port", "wrong"),
        ({"gateway": GatewayFacts(URL, True, True, True, version="old")}, "model that serves", "warning"),
        ({"models": ModelFacts("m", broken="no file", serving="one")}, "artifacts", "wrong"),
        ({"models": ModelFacts("m", "no file", "one", {"one": "SHA"})}, "model one", "wrong"),
        ({"models": ModelFacts("m", None, "one", {"two": "SHA"})}, "model two", "warning"),
        ({"index": IndexFacts(Path("/i"), broken="size")}, "index", "wrong"),
        ({"index": IndexFacts(Path("/i"), wanted_s=601)}, "index age", "warning"),
        ({"letters_last_hour": {"invalid": 2, "late": 1}}, "dead letters", "warning"),
        ({"other_host": "0.0.0.0", "keys": 0}, "keys", "wrong"),
        ({"other_host": "0.0.0.0", "keys": 1, "keys_setting": "open-to-anyone"}, "keys", "wrong"),
        ({"open_files": (Path("/stack/redis"),)}, "private files", "wrong"),
        ({"odd_settings": ("judge without attribution",)}, "settings together", "warning"),
        ({"leftovers": (Path("/.b.part"),)}, "leftovers", "warning"),
        ({"untold": {"disk": "ValueError"}}, "disk", "warning"),
        ({"redis": None, "redis_away": "refused", "flows": (), "parts": PARTS - {"redis"}}, "redis", "wrong"),
        (
            {"runs": False, "parts": None, "redis": None, "redis_away": "x", "gateway": GatewayFacts(URL, False)},
            "stack",
            "wrong",
        ),
    ],
)
def test_each_fault_has_its_line_and_no_other(changed: dict[str, Any], name: str, level: str) -> None:
    found = findings(replace(WELL, **changed))
    assert [(one.name, one.level) for one in found] == [(name, level)]
    assert all((found[0].expected, found[0].found, found[0].mend))


def test_a_fault_that_breaks_much_comes_before_one_that_breaks_little() -> None:
    much = replace(WELL, redis=None, redis_away="refused", letters_last_hour={"late": 1}, open_files=(Path("/s"),))
    assert [one.name for one in findings(much)] == ["redis", "private files", "dead letters"]


def lines(given: dict[str, object]) -> list[Finding]:
    return findings(gather(given))


def names(given: dict[str, object]) -> list[str]:
    return [one.name for one in lines(given)]


def test_with_everything_down_it_says_what_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_STACK__PORT", str(closed_port()))
    assert names({"stack.folder": tmp_path / "stack"}) == ["stack"]
    away = f"redis://:secret@127.0.0.1:{closed_port()}/0"
    assert names({"stack.folder": tmp_path / "stack", "redis.url": away}) == ["redis", "gateway"]
    monkeypatch.setenv("NEXTCLICK_LOG__PARTITIONS", "many")
    assert names({"stack.folder": tmp_path / "stack"}) == ["settings"]


def test_the_address_in_the_stacks_folder_names_its_own_redis(tmp_path: Path) -> None:
    own, other = (f"redis://:secret@127.0.0.1:{closed_port()}/0" for _ in range(2))
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "url").write_text(f"{own}\n")
    assert gather({"stack.folder": tmp_path, "redis.url": own}).embedded
    assert not gather({"stack.folder": tmp_path, "redis.url": other}).embedded


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def own_redis(tmp_path: Path) -> Any:
    with EmbeddedRedis(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client:
        yield server, client


def judged(settings: RedisSettings, *, ahead_s: float = 0.0) -> list[str]:
    return [
        one.name for one in findings(replace(WELL, redis=redis_health(settings, clock=lambda: time.time() - ahead_s)))
    ]


def test_a_redis_is_asked_what_it_keeps_and_whether_it_takes_writes(own_redis: Any) -> None:
    server, client = own_redis
    settings = RedisSettings(url=server.url)
    assert judged(settings) == []
    client.config_set("maxmemory", 1)
    assert judged(settings) == ["redis writes"]
    client.config_set("maxmemory", 0)
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert judged(settings) == ["redis policy"]
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("appendonly", "no")
    assert judged(settings) == ["redis file"]
    client.config_set("appendonly", "yes")
    client.set(UNSYNCED, "no room")
    assert judged(settings) == ["redis files"]
    client.delete(UNSYNCED)
    client.hset(Keys().progress(9), "next", 1)
    assert judged(settings) == ["partitions"]
    client.delete(Keys().progress(9))
    assert judged(settings, ahead_s=60) == ["clock"]
    client.execute_command("ACL", "SETUSER", "few", "on", ">pw", "~*", "+@all", "-info", "-config")
    assert judged(RedisSettings(url=f"redis://few:pw@{server.place}/0")) == []


def test_a_flow_that_reads_on_is_told_from_one_that_stands_still(own_redis: Any) -> None:
    server, _ = own_redis
    settings = at(deployment(Path("/nowhere")), server.url)
    RedisLogWriter(settings.log, settings.redis).append(Topic.CLICKS, [Record("s", b"{}")] * 5)
    told = ReadProgress(settings.redis, "trends", "clicks")
    [partition] = [p for p in range(settings.log.partitions) if 5 in ends(settings, p)]

    def read_on(_: float) -> None:
        told.tell({partition: 2})

    assert flow_facts(settings, ["sessions"], sleep=lambda _: None) == (FlowFacts("sessions", 5, 0),)
    assert flow_facts(settings, ["trends"], sleep=read_on) == (FlowFacts("trends", 5, 2),)
    told.tell({partition: 5}, lost=3)
    assert flow_facts(settings, ["trends"], sleep=read_on) == (FlowFacts("trends", 0, 0, lost=3),)
    told.close()


def ends(settings: Any, partition: int) -> set[int]:
    with redis.Redis.from_url(settings.redis.url) as client:
        return {int(client.get(Keys().log_end("clicks", partition)) or 0)}


def test_dead_letters_of_the_last_hour_are_counted_and_older_ones_not(own_redis: Any, tmp_path: Path) -> None:
    server, _ = own_redis
    settings = at(deployment(tmp_path / "s"), server.url)
    log = RedisLogWriter(settings.log, settings.redis)
    log.dead_letter([DeadLetter("gateway", 1, "late", "", NOW_MS, b"{}")])
    given: dict[str, object] = {"redis.url": server.url, "stack.folder": tmp_path / "s"}
    assert "dead letters" not in names(given)
    log.dead_letter([DeadLetter("gateway", 1, "invalid", "", wall_clock_ms(), b"{}")])
    [found] = [one for one in lines(given) if one.name == "dead letters"]
    assert (found.found, found.mend) == (
        "1, most of them invalid",
        "nextclick dead-letters list --since 1h --reason invalid",
    )
    log.close()


def test_a_damaged_version_of_a_registry_is_named(tmp_path: Path) -> None:
    other = Path(shutil.copytree(ARTIFACTS, tmp_path / "other"))
    with (other / "session_model" / "manifest.json").open("a") as manifest:
        manifest.write("\n")
    registry = Registry(tmp_path / "models")
    first, second = registry.add(ARTIFACTS, now_ms=NOW_MS), registry.add(other, now_ms=NOW_MS + 1000)
    registry.publish(first.name, now_ms=NOW_MS)
    serving = str(registry.folder / "serving")
    assert judged_models(serving) == []
    damage(registry.path_of(second.name))
    assert judged_models(serving) == [(f"model {second.name}", "warning")]
    damage(registry.path_of(first.name))
    assert judged_models(serving) == [(f"model {first.name}", "wrong"), (f"model {second.name}", "warning")]
    assert judged_models(str(tmp_path / "none")) == [("artifacts", "wrong")]


def judged_models(artifacts: str) -> list[tuple[str, str]]:
    facts = replace(WELL, models=models_at(artifacts, ""), gateway=GatewayFacts(URL, True, True, True))
    return sorted((one.name, one.level) for one in findings(facts))


def damage(version: Path) -> None:
    path = max((one for one in version.rglob("*") if one.name != "version.json" and one.is_file()), key=os.path.getsize)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_a_broken_pointer_of_the_index_is_named(tmp_path: Path) -> None:
    assert index_at(tmp_path / "none", 0) is None
    (tmp_path / "current.json").write_text('{"current": "000000000001-aaaaaaaa-bbbbbbbb"}')
    broken = index_at(tmp_path, 0)
    assert broken is not None
    assert [one.name for one in findings(replace(WELL, index=broken))] == ["index"]


def test_files_that_others_may_read_and_what_a_kill_left_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    for name in ("redis", "logs"):
        (folder / name).mkdir(parents=True, mode=0o700)
    (folder / "lock").touch()
    assert (open_files(folder), leftovers(folder)) == ((), ())
    (folder / "redis").chmod(0o755)
    left = tmp_path / ".stack.abc.part"
    left.mkdir()
    assert (open_files(folder), leftovers(folder)) == ((folder / "redis",), ())
    assert leftovers(folder, time.time() + 7200) == (left,)
    (folder / "lock").unlink()
    assert open_files(folder) == (), "files of somebody else are no matter of ours"


def test_another_program_on_the_port_is_told_from_a_gateway() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.handle_request).start()
        found = gateway_at(f"http://127.0.0.1:{server.server_port}")
    assert [one.name for one in findings(replace(WELL, gateway=found))] == ["port"]
    assert gateway_at(f"http://127.0.0.1:{closed_port()}").listens is False


def test_a_look_that_fails_is_told_and_ends_nothing() -> None:
    gathering = Gathering(WELL)
    assert gathering.look("disk", lambda: 1 // 0) is None
    assert gathering.facts.untold == {"disk": "ZeroDivisionError: integer division or modulo by zero"}


def test_packages_that_are_not_installed_are_named() -> None:
    assert missing_packages("no-such-package") == ()
    assert missing_packages() == ()


@pytest.mark.kafka
def test_kafka_topics_with_other_partitions_are_named_and_missing_ones_are_not_made(
    kafka_log_settings: LogSettings,
) -> None:
    assert set(found_topics(kafka_log_settings).values()) == {0}
    ensure_topics(kafka_log_settings)
    topics = tuple(TopicFacts(name, count) for name, count in found_topics(kafka_log_settings).items())
    right, wrong = kafka_log_settings.partitions, kafka_log_settings.partitions + 1
    redis = replace(REDIS, partitions=0)
    assert findings(replace(WELL, redis=redis, topics=topics, partitions=right)) == []
    found = findings(replace(WELL, redis=redis, topics=topics, partitions=wrong))
    assert {one.name for one in found} == {"partitions"}


def test_the_command_ends_with_1_where_something_is_wrong(tmp_path: Path) -> None:
    lock_folder(tmp_path / "stack").close()
    asked = ["doctor", "--folder", str(tmp_path / "stack"), "--url", f"http://127.0.0.1:{closed_port()}"]
    said = CliRunner().invoke(build_app("doctor"), asked)
    assert said.exit_code == 1
    assert f"mend      nextclick up --folder {tmp_path / 'stack'}" in said.output
    typo = CliRunner().invoke(build_app("doctor"), [*asked[:2], str(tmp_path / "typo"), *asked[3:]])
    assert "a folder that no stack made, or none" in typo.output
    assert "mend      name the stack's folder (--folder), or make a stack there" in typo.output
    document = orjson.loads(CliRunner().invoke(build_app("doctor"), [*asked, "--json"]).output)
    assert document["healthy"] is False
    assert [one["name"] for one in document["findings"]] == ["stack"]


def test_a_restore_that_was_stopped_half_way_is_said(redis_settings: RedisSettings) -> None:
    with closing(connect(redis_settings)) as client:
        RestoreMark(redis_settings.prefix, "20261129T070000Z").set(client, Step.PLACING)
    found = findings(replace(WELL, redis=redis_health(redis_settings)))
    [one] = [one for one in found if one.name == "restore"]
    assert (one.level, one.expected) == ("wrong", "a whole deployment in Redis")
    assert "found half of a backup: a restore began at 20261129T070000Z" in one.found
