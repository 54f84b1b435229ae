"""`nextclick keys`: made, listed, rotated, revoked, and who did it; and the keys that our own clients send."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from contracts.api_keys import KEY_TEXT
from contracts.errors import KeyRefused, NextclickError, SettingsError, StateUnavailable
from contracts.settings import RedisSettings
from nextclick.cli import build_app
from nextclick.commands import keys, keys_audit
from nextclick.commands.key_options import keys_of
from nextclick.stack.api_key import api_key
from nextclick.stack.client import Client, NoKey
from nextclick.stack.environment import environment_with
from nextclick.stack.own_key import take_own_key
from nextclick.stack.settings import StackOptions, StackSettings
from nextclick.stack.stack import Stack
from replay.engine.http_client import HttpClient
from state.key_store import KeyStore
from tests.gateway.test_key_processes import command_lines
from tests.processes import ROOT

Run = Callable[..., Result]


@pytest.fixture
def run(redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("NEXTCLICK_REDIS__URL", redis_settings.url)
    monkeypatch.setenv("NEXTCLICK_REDIS__PREFIX", redis_settings.prefix)
    for module in (keys, keys_audit):
        monkeypatch.setattr(module.console, "width", 250)

    def invoke(*words: str) -> Result:
        found = CliRunner().invoke(build_app(), ["keys", *words])
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found

    return invoke


def test_a_key_is_printed_alone_and_once(run: Run, redis_settings: RedisSettings) -> None:
    made = run("create", "--name", "importer", "--scope", "catalogue", "--scope", "events")
    text = made.stdout.strip()
    assert KEY_TEXT.fullmatch(text)
    assert "secret, events, catalogue" in made.stderr
    assert text not in made.stderr
    listed = run("list").stdout
    assert re.search(rf"{text[4:20]} .*importer .*secret .*events, catalogue .*works", listed)
    assert text[21:] not in listed
    store = KeyStore(redis_settings)
    assert text[21:] not in repr(store.listed())
    store.close()


def test_a_public_key_names_its_pages(run: Run) -> None:
    made = run("create", "--name", "shop", "--public", "--origin", "https://Shop.example:443", "--scope", "events")
    assert made.stdout.startswith("ncp_")
    assert "https://shop.example " in run("list").stdout
    with pytest.raises(KeyRefused, match="got catalogue"):
        run("create", "--name", "x", "--public", "--origin", "https://a.example", "--scope", "catalogue")


def test_rotating_and_revoking_say_what_becomes_of_a_key(run: Run, redis_settings: RedisSettings) -> None:
    first = run("create", "--name", "importer", "--scope", "catalogue").stdout.strip()
    rotated = run("rotate", "importer", "--overlap", "30m")
    assert rotated.stdout.strip() != first
    assert rotated.stdout.strip()[4:20] == first[4:20]
    assert "The one of before works until" in rotated.stderr
    assert "a secret of before until" in run("list").stdout
    assert "is revoked" in run("revoke", first[4:20]).stdout
    assert "revoked" in run("list").stdout
    for words in (("rotate", "importer"), ("revoke", "importer"), ("rotate", first[4:20]), ("revoke", first)):
        with pytest.raises(KeyRefused) as refused:
            run(*words)
        assert first[21:] not in str(refused.value)
    with pytest.raises(NextclickError, match="--overlap"):
        run("rotate", "importer", "--overlap", "soon")
    audit = run("audit").stdout
    told = [line for line in audit.splitlines() if "keys " in line]
    assert [re.search(r"keys (\w+)", line)[1] for line in told] == ["revoke", "rotate", "create"]  # type: ignore[index]
    assert all(first[4:20] in line and "command line" in line for line in told)
    assert first[21:] not in audit
    assert "keys" not in run("audit", "--who", "0000000000000000").stdout
    assert len(run("audit", "--limit", "1").stdout.splitlines()) == 5  # the table of one line


def test_a_key_without_a_name_is_called_by_its_scopes(run: Run) -> None:
    run("create", "--scope", "recommend", "--scope", "events")
    assert "recommend events" in run("list").stdout


def test_where_no_redis_answers_that_of_a_stack_here_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXTCLICK_REDIS__URL", raising=False)
    with pytest.raises(StateUnavailable) as alone, keys_of(RedisSettings(url="redis://127.0.0.1:1")) as store:
        store.listed()
    assert "nextclick up" not in str(alone.value)
    (tmp_path / ".nextclick" / "stack" / "redis").mkdir(parents=True)
    (tmp_path / ".nextclick" / "stack" / "redis" / "url").write_text("redis://:secret@127.0.0.1:1")
    with pytest.raises(StateUnavailable) as beside, keys_of(RedisSettings(url="redis://127.0.0.1:1")) as store:
        store.listed()
    assert str(beside.value).endswith("NEXTCLICK_REDIS__URL=$(cat .nextclick/stack/redis/url)")
    assert "secret" not in str(beside.value)


def test_an_empty_deployment_says_so(run: Run) -> None:
    assert "`nextclick keys create` makes one" in run("list").stdout
    assert "holds nothing like that" in run("audit").stdout


def test_a_client_sends_the_key_of_its_file_or_else_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("ncs_of-the-file\r\n")
    monkeypatch.delenv("NEXTCLICK_API_KEY", raising=False)
    assert (api_key(), api_key(file)) == ("", "ncs_of-the-file")
    monkeypatch.setenv("NEXTCLICK_API_KEY", "ncs_of-the-environment")
    assert (api_key(), api_key(file)) == ("ncs_of-the-environment", "ncs_of-the-file")
    for wrong in ("two words", "a\nb", "é"):
        monkeypatch.setenv("NEXTCLICK_API_KEY", wrong)
        with pytest.raises(SettingsError, match="NEXTCLICK_API_KEY") as refused:
            api_key()
        assert wrong not in str(refused.value)
    file.write_text("")
    with pytest.raises(SettingsError, match="got nothing"):
        api_key(file)
    with pytest.raises(SettingsError, match="--key-file"):
        api_key(tmp_path / "none")


def test_the_replay_client_sends_its_key_with_every_request_and_says_it_nowhere() -> None:
    http = HttpClient("http://127.0.0.1:1", key="ncs_0000000000000001_" + "a" * 48)
    assert b"\r\nAuthorization: Bearer ncs_0000000000000001_aaaa" in http.head("POST", "/api/events")
    assert b"Authorization" not in HttpClient("http://127.0.0.1:1").head("POST", "/api/events")
    with pytest.raises(SettingsError) as refused:
        http.head("POST", "/a\n")
    assert "a" * 48 not in str(refused.value)


@pytest.mark.slow
def test_up_refuses_an_address_that_others_reach_until_there_is_a_key(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nextclick", "up", "--port", "0", "--folder", str(tmp_path / "stack")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NEXTCLICK_STACK__HOST": "0.0.0.0"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 78
    [line] = [line for line in ended.stderr.splitlines() if "WARNING" not in line]
    assert line.startswith("listening on 0.0.0.0, which other machines reach: expected an API key, found none")


@pytest.mark.slow
def test_a_stack_with_keys_takes_items_and_a_recording_from_those_that_have_one(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NEXTCLICK_STACK__HOST": "0.0.0.0",
        "NEXTCLICK_GATEWAY__KEYS": "required",
        "COLUMNS": "200",
    }
    nextclick = [sys.executable, "-m", "nextclick"]
    folder = tmp_path / "stack"
    up = subprocess.Popen(
        [*nextclick, "up", "--port", "0", "--folder", str(folder)], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert up.stdout is not None
        url = re.search(r"http://[\d.]+:\d+", up.stdout.readline())
        assert url is not None
        environment["NEXTCLICK_REDIS__URL"] = (folder / "redis" / "url").read_text().strip()

        def ran(*words: str, key: str = "") -> subprocess.CompletedProcess[str]:
            sent = {**environment, "NEXTCLICK_API_KEY": key}
            return subprocess.run([*nextclick, *words], env=sent, capture_output=True, text=True, check=False)

        made = ran(
            "keys", "create", "--name", "all", *(f"--scope={one}" for one in ("catalogue", "events", "recommend"))
        )
        key = made.stdout.strip()
        assert KEY_TEXT.fullmatch(key), made.stderr
        items = tmp_path / "items.jsonl"
        items.write_text(
            '{"item_id": "a", "title": "A", "category": "c"}\n{"item_id": "b", "title": "B", "category": "c"}\n'
        )
        (tmp_path / "key").write_text(key)
        refused = ran("items", "load", str(items), "--url", url[0])
        assert refused.returncode == 1
        assert "NEXTCLICK_API_KEY" in refused.stderr
        loaded = ran("items", "load", str(items), "--url", url[0], "--key-file", str(tmp_path / "key"))
        assert "2 items accepted" in loaded.stdout, loaded.stderr
        watched = ran("replay", "freshness", "--url", url[0], "--rate", "20", "--seconds", "2", key=key)
        assert watched.returncode == 0, watched.stdout + watched.stderr
        assert key[21:] not in watched.stdout + watched.stderr
        assert key[21:].encode() not in b"".join(command_lines())
        with Client(url[0], key="ncs_wrong") as client, pytest.raises(NoKey, match="not known here"):
            client.send_events([])
        for log in (folder / "logs").iterdir():
            assert key[21:] not in log.read_text()
    finally:
        up.terminate()
        up.wait(60)
        assert up.stdout is not None
        up.stdout.close()


@pytest.mark.slow
def test_a_stack_that_asks_keys_has_one_for_its_own_clients(tmp_path: Path) -> None:
    settings = StackSettings(stack=StackOptions(port=0, folder=tmp_path / "stack"))
    with environment_with({"NEXTCLICK_GATEWAY__KEYS": "required"}), Stack(settings) as stack:
        take_own_key(stack)
        with Client(stack.url, key=stack.api_key) as client:
            assert client.recommend("homepage", "s")["recommendations"] == []
    with Stack(settings) as stack:
        take_own_key(stack)
        assert stack.api_key is None
