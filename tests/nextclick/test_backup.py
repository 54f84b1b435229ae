"""`nextclick backup` and `restore`: what comes back is what was there, at one moment, or nothing is touched."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from connect.feeds.formats import FeedFormat
from connect.feeds.rows import FeedItem
from contracts.errors import ArtifactError, NextclickError, OutputRefused, SettingsError, StartupError, StateUnavailable
from eventlog.contract import Topic
from eventlog.redis_log import RedisLogReader
from nextclick.cli import build_app
from nextclick.stack.backup import archive
from nextclick.stack.backup.archive import read_manifest, verify_archive
from nextclick.stack.backup.making import drop_older
from nextclick.stack.backup.restoring import Restored, restore_backup
from nextclick.stack.feeds.adding import feed_of
from nextclick.stack.feeds.definition import State
from nextclick.stack.feeds.pull import STORE
from nextclick.stack.feeds.store import FeedStore
from nextclick.stack.feeds.wired import folder_of
from nextclick.stack.settings import StackSettings, with_given
from nextclick.stack.shop_models import ARTIFACTS
from nextclick.stack.stack import lock_folder
from registry.folder import Registry
from state.embedded import EmbeddedRedis
from state.sessions import Progress, SessionStore
from tests.nextclick.backup_parts import GAP_MS, NOW_MS, at, backup, contents, deployment, fill
from tests.processes import ROOT, wait_for


@pytest.fixture
def stack(tmp_path: Path) -> StackSettings:
    """A stack's folder with a deployment in its Redis, which is down."""
    settings = deployment(tmp_path / "stack")
    lock_folder(tmp_path / "stack").close()
    with EmbeddedRedis(tmp_path / "stack" / "redis") as server:
        fill(at(settings, server.url))
    return settings


def restored(settings: StackSettings, path: Path, *, replace: bool = False) -> Restored:
    return restore_backup(settings, path, now="20261129T080000Z", replace=replace)


def held(folder: Path) -> dict[bytes, object]:
    with EmbeddedRedis(folder / "redis") as server:
        return contents(server.url)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_machine_holds_what_was_backed_up_and_reads_on_from_the_offsets(
    stack: StackSettings, tmp_path: Path
) -> None:
    before = held(stack.stack.folder)
    manifest = backup(stack, tmp_path / "b.tar.zst")
    new = deployment(tmp_path / "new")
    found = restored(new, tmp_path / "b.tar.zst")
    assert (found.keys, manifest.redis.keys, found.aside) == (len(before), len(before), None)
    with EmbeddedRedis(tmp_path / "new" / "redis") as server:
        assert contents(server.url) == before
        own = at(new, server.url).redis
        store = SessionStore(own, idle_gap_ms=GAP_MS)
        assert store.progress(3) == Progress(40, 1000, {"applied": 40})
        assert store.load(3, ["a"]).sessions["a"].events == 40
        log = RedisLogReader(own, Topic.CLICKS, list(range(new.log.partitions)), "sessions")
        assert sum(log.ends().values()) == 300
        store.close()
        log.close()
    assert stat.S_IMODE((tmp_path / "b.tar.zst").stat().st_mode) == 0o600
    assert [path for path in (tmp_path / "new").rglob("*") if path.stat().st_mode & 0o077] == []


def test_feeds_come_back_with_what_the_catalogue_was_told_of_them(stack: StackSettings, tmp_path: Path) -> None:
    feeds = folder_of(stack)
    for name in ("main", "new"):
        feeds.add(feed_of(name, "https://u:s3cret@shop.example/f", FeedFormat.CSV, "PT1H", []), replace=False)
    feeds.write_state("main", State(etag="e-1", well_ms=7))
    with FeedStore(feeds.place("main") / STORE) as store:
        store.begin()
        store.see([FeedItem(1, "1", {"title": "a"}, 3), FeedItem(2, "2", {"title": "b"})])
        store.finish("ready")
        store.applied(store.staged(10))
        backup(stack, tmp_path / "b.tar.zst")  # while the store is open, and its last changes are in SQLite's log
    new = deployment(tmp_path / "new")
    restored(new, tmp_path / "b.tar.zst")
    back = folder_of(new)
    assert (back.names(), back.read("main")) == (["main", "new"], feeds.read("main"))
    assert (back.state("main").etag, back.state("new").etag) == ("e-1", "")
    with FeedStore(back.place("main") / STORE) as store:
        assert sorted(store.item_ids()) == ["1", "2"]


def test_a_snapshot_is_of_one_moment_while_writes_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    lock_folder(folder).close()
    with EmbeddedRedis(folder / "redis") as server, writing(server.url):
        backup(deployment(folder), tmp_path / "b.tar.zst")
    restored(deployment(tmp_path / "new"), tmp_path / "b.tar.zst")
    found = held(tmp_path / "new")
    count, entries = int(found[b"nc:one"][0]), len(found[b"nc:two"][0])  # type: ignore[index]
    assert count == entries > 300


@pytest.fixture
def other_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "other") as server:
        yield server


def test_another_redis_gets_this_deployments_keys_alone_and_keeps_what_others_have(
    stack: StackSettings, tmp_path: Path, other_redis: EmbeddedRedis
) -> None:
    before = held(stack.stack.folder)
    shared = at(stack, other_redis.url.removesuffix("/0") + "/2")
    fill(shared)
    with redis.Redis.from_url(shared.redis.url) as client:
        client.set("else:a", 1)
    backup(shared, tmp_path / "shared.tar.zst")
    restored(deployment(tmp_path / "new"), tmp_path / "shared.tar.zst")
    assert held(tmp_path / "new").keys() == before.keys()

    backup(stack, tmp_path / "own.tar.zst")
    target = at(deployment(tmp_path / "target"), other_redis.url)
    with redis.Redis.from_url(target.redis.url) as client:
        client.set("else:b", 1)
    assert restored(target, tmp_path / "own.tar.zst").keys == len(before)
    assert contents(target.redis.url) == before | {b"else:b": (b"1", False)}
    with pytest.raises(OutputRefused, match=r"no keys of 'nc', found \d+: they were left as they are"):
        restored(with_given(target, {"stack.folder": tmp_path / "third"}), tmp_path / "own.tar.zst")
    with redis.Redis.from_url(target.redis.url) as client:
        client.set("nc:late", 1)
    restored(target, tmp_path / "own.tar.zst", replace=True)
    assert contents(target.redis.url) == before | {b"else:b": (b"1", False)}


def test_a_redis_that_gives_no_snapshot_is_read_key_by_key_unless_it_is_written_to(
    stack: StackSettings, tmp_path: Path, other_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(at(stack, other_redis.url))
    before = contents(other_redis.url)
    with redis.Redis.from_url(other_redis.url) as client:
        client.execute_command("ACL", "SETUSER", "hosted", "on", ">pw", "~*", "+@all", "-sync", "-psync")
        hosted = at(stack, f"redis://hosted:pw@{other_redis.place}/0")
        manifest = backup(hosted, tmp_path / "b.tar.zst")
        assert (manifest.redis.how, manifest.redis.keys) == ("keys", len(before))
        restored(deployment(tmp_path / "new"), tmp_path / "b.tar.zst")
        assert held(tmp_path / "new") == before

        with writing(other_redis.url), pytest.raises(StateUnavailable, match="changed while they were read one by one"):
            backup(hosted, tmp_path / "again.tar.zst")
    assert not (tmp_path / "again.tar.zst").exists()


@contextmanager
def writing(url: str) -> Iterator[redis.Redis]:
    """Write two keys at once, again and again: as often the one as the other."""
    stop = threading.Event()

    def write() -> None:
        with redis.Redis.from_url(url) as client:
            while not stop.is_set():
                with client.pipeline(transaction=True) as both:
                    both.incr("nc:one")
                    both.xadd("nc:two", {"a": b"x" * 200})
                    both.execute()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with redis.Redis.from_url(url) as client:
            wait_for(lambda: int(client.get("nc:one") or 0) > 300)
            yield client
    finally:
        stop.set()
        writer.join()


def test_models_and_settings_are_in_a_backup_with_their_secrets(stack: StackSettings, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    version = registry.add(ARTIFACTS, now_ms=NOW_MS)
    registry.publish(version.name, now_ms=NOW_MS)
    (tmp_path / "nextclick.toml").write_text("[log]\npartitions = 16\n")
    (tmp_path / "key.pem").write_text("a key")
    environment = {"NEXTCLICK_CONFIG": str(tmp_path / "nextclick.toml"), "NEXTCLICK_API_KEY": 'a "b" $c', "HOME": "/x"}
    settings = with_given(stack, {"artifacts": str(registry.folder / "serving")})
    manifest = backup(
        settings, tmp_path / "b", environment=environment, named_files={"gateway.tls_key": str(tmp_path / "key.pem")}
    )
    restored(deployment(tmp_path / "new"), tmp_path / "b")
    new = tmp_path / "new"
    assert manifest.models == version.name
    again = Registry(new / "models")
    assert (again.serving(), again.verify(version.name).files) == (version.name, version.files)
    said = subprocess.run(
        ["sh", "-c", ". ./environment; echo $NEXTCLICK_API_KEY; cat nextclick.toml files/gateway.tls_key"],
        cwd=new / "settings",
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == 'a "b" $c\n[log]\npartitions = 16\na key'
    assert "HOME" not in (new / "settings" / "environment").read_text()


def test_a_target_that_is_not_empty_is_left_as_it_is_until_it_is_to_be_replaced(
    stack: StackSettings, tmp_path: Path
) -> None:
    folder, file = stack.stack.folder, tmp_path / "b"
    backup(stack, file)
    before = tree(folder)
    with pytest.raises(OutputRefused, match=r"found a stack's: it was left as it is. --replace puts"):
        restored(stack, file)
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.jpg").touch()
    with pytest.raises(OutputRefused, match="found another: it was left as it is"):
        restored(deployment(foreign), file, replace=True)
    lock = lock_folder(folder)
    with pytest.raises(StartupError, match="a stack runs in"):
        restored(stack, file, replace=True)
    lock.close()
    assert tree(folder) == before
    found = restored(stack, file, replace=True)
    assert found.aside == tmp_path / "stack.before-20261129T080000Z"
    assert tree(found.aside) == before
    assert (folder / "redis" / "redis.conf").read_bytes() == before["redis/redis.conf"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "photos", "stack", found.aside.name]


def damaged(path: Path, to: Path, at: int) -> Path:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    to.write_bytes(content)
    return to


def test_a_damaged_backup_and_one_of_another_layout_touch_nothing(stack: StackSettings, tmp_path: Path) -> None:
    file = tmp_path / "b"
    backup(stack, file)
    size = file.stat().st_size
    for place in range(10, size, size // 12):
        with pytest.raises(ArtifactError, match="nothing was changed"):
            verify_archive(damaged(file, tmp_path / "damaged", place))
    for length in (0, 10, size // 2, size - 200):
        (tmp_path / "cut").write_bytes(file.read_bytes()[:length])
        with pytest.raises(ArtifactError, match="nothing was changed"):
            restored(deployment(tmp_path / "new"), tmp_path / "cut")
    with pytest.raises(SettingsError, match=r"NEXTCLICK_LOG__PARTITIONS: expected '8', as .* got '4': set it so"):
        restored(deployment(tmp_path / "new", **{"log.partitions": 4}), file)
    later = read_manifest(file).model_copy(update={"layout": 2, "version": "9.1", "files": {}})
    archive.write_archive(tmp_path / "later", tmp_path, later)
    with pytest.raises(ArtifactError, match=r"of layout 1, got layout 2, made by Nextclick 9.1: restore it with that"):
        restored(deployment(tmp_path / "new"), tmp_path / "later")
    assert not (tmp_path / "new").exists()


KILLED = """
import os, sys
from pathlib import Path
from tests.nextclick.backup_parts import backup, deployment
from nextclick.stack.backup.restoring import restore_backup
what, event, about, folder, file = *sys.argv[1:4], Path(sys.argv[4]), Path(sys.argv[5])
def killed_at(name, given):
    if name == event and any(str(one).endswith(about) for one in given):
        os.kill(os.getpid(), 9)
if what == "backup":
    import zstandard
    sys.addaudithook(killed_at)
    backup(deployment(folder), file)
else:
    sys.addaudithook(killed_at)
    restore_backup(deployment(folder), file, now="n", replace=True)
"""


@pytest.mark.parametrize(
    ("what", "event", "about", "is_replaced"),
    [
        ("backup", "os.rename", "/b", False),
        ("restore", "os.rename", "appendonly.aof", False),
        ("restore", "ctypes.dlsym", "renameat2", False),
        ("restore", "os.rename", "stack.before-n", True),
    ],
)
def test_killed_at_any_moment_it_leaves_what_was_there_or_what_it_was_to_make(
    stack: StackSettings, tmp_path: Path, what: str, event: str, about: str, is_replaced: bool
) -> None:
    folder, file = stack.stack.folder, tmp_path / "b"
    backup(stack, file)
    with EmbeddedRedis(folder / "redis") as server, redis.Redis.from_url(server.url) as client:
        client.set("nc:later", 1)
    packed = file.read_bytes()
    command = [sys.executable, "-c", KILLED, what, event, about, str(folder), str(file)]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert ended.returncode == -signal.SIGKILL
    wait_for(lambda: not runs_in(tmp_path))
    now = held(folder)
    assert (b"nc:later" in now) is not is_replaced
    assert len(now.keys() - {b"nc:later"}) == read_manifest(file).redis.keys
    assert file.read_bytes() == packed
    assert len(list(tmp_path.glob(".*.part"))) in (1, 2)


def runs_in(folder: Path) -> bool:
    """Tell whether a process was started with a path in a folder, such as a Redis that has yet to end."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(folder).encode() in path.read_bytes():
                return True
    return False


def test_the_commands_say_what_they_did(stack: StackSettings, tmp_path: Path) -> None:
    folder = str(stack.stack.folder)
    (tmp_path / "kept").mkdir()
    assert "keys" in run("backup", str(tmp_path / "kept"), "--folder", folder, "--keep", "2")
    [file] = (tmp_path / "kept").iterdir()
    assert "all as they were written" in run("backup", "verify", str(file), "--load")
    assert "keys are back" in run("restore", str(file), "--folder", str(tmp_path / "new"))
    assert "expected a folder of backups" in run("backup", str(tmp_path / "x"), "--keep", "2", "--folder", folder)
    assert "expected a stack's folder at" in run("backup", str(tmp_path / "x"), "--folder", str(tmp_path / "none"))
    assert "found another file, or one that is damaged" in run("backup", "verify", str(ROOT / "README.md"))


def run(*words: str) -> str:
    found = CliRunner().invoke(build_app(words[0]), words)
    assert isinstance(found.exception, NextclickError | None), found.exception
    return found.output + str(found.exception)


def test_the_oldest_backups_go_and_other_files_stay(tmp_path: Path) -> None:
    for name in ("nextclick-20261127T000000Z", "nextclick-20261128T000000Z", "nextclick-20261129T000000Z", "mine"):
        (tmp_path / f"{name}.tar.zst").touch()
    drop_older(tmp_path, 2)
    assert sorted(path.name.partition(".")[0] for path in tmp_path.iterdir()) == [
        "mine",
        "nextclick-20261128T000000Z",
        "nextclick-20261129T000000Z",
    ]
