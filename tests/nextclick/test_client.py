"""The command line's client, and `items load`, against servers that misbehave."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.errors import SettingsError
from nextclick.stack.client import Client, GatewayRefused, GatewayUnreachable, NoGateway, expect_listening
from nextclick.stack.settings import gateway_url
from tests.nextclick.test_cli import nextclick

Answer = Callable[[BaseHTTPRequestHandler, list[bytes]], bytes]
ITEMS = b"".join(b'{"item_id":"i%d","title":"t"}\n' % n for n in range(3))


@contextmanager
def serving(answer: Answer, *, keep: bool = True, tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[str]]]:
    """A server on a free port of 127.0.0.1, and the requests that it got."""
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            got.append(f"{self.command} {self.path}")
            lines = self.rfile.read(int(self.headers.get("Content-Length", 0))).split(b"\n")
            content = answer(self, lines)
            self.send_response(202)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = not keep  # without a word of it

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], got
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


def taken(visible: bool) -> Answer:
    return lambda handler, lines: orjson.dumps({"accepted": len(lines), "rejected": [], "visible": visible})


def refused(handler: BaseHTTPRequestHandler, lines: list[bytes]) -> bytes:
    rejected = [{"index": 1, "reason": "invalid: /price: too low"}]
    return orjson.dumps({"accepted": len(lines) - 1, "rejected": rejected, "visible": True})


def load(folder: Path, url: str) -> tuple[int, str]:
    (folder / "items.jsonl").write_bytes(ITEMS)
    said = nextclick("items", "load", "items.jsonl", "--url", url, cwd=folder)
    return said.returncode, said.stdout.strip() + said.stderr


def test_items_load_takes_a_table_and_names_the_rows_that_it_left_out(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("sku;title;price\n1;Boot;59,90\n2;Tent;cheap\n")
    with serving(taken(visible=True)) as (port, _):
        url = f"localhost:{port}"
        said = nextclick("items", "load", "items.csv", "--map", "item_id=sku", "--url", url, cwd=tmp_path)
        assert said.returncode == 0, said.stderr
        assert said.stdout.strip().startswith(
            "1 items accepted; recommendations see them now.\nleft out: items.csv:3: invalid: price:"
        )
        assert said.stdout.endswith("1 rows were left out: mend them and load the file again.\n")
        strict = nextclick("items", "load", "items.csv", "--map", "item_id=sku", "--url", url, "--strict", cwd=tmp_path)
        assert (strict.returncode, strict.stdout) == (1, said.stdout)
        (tmp_path / "items.csv").write_text("sku;title;price\n2;Tent;cheap\n")
        said = nextclick("items", "load", "items.csv", "--map", "item_id=sku", "--url", url, cwd=tmp_path)
        assert (said.returncode, "nothing was loaded" in said.stderr) == (1, True)


def test_items_load_warns_of_ids_that_stand_in_the_file_twice(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,attributes.tags\n1,A,x\n2,B,\n1,C,\n3,D,\n1,E,y\n")
    with serving(taken(visible=True)) as (port, _):
        asked = ("items", "load", "items.csv", "--list", "attributes.tags", "--url", f"localhost:{port}")
        said = nextclick(*asked, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    twice = "1 item ids stand in the file more than once, the last one counts: '1' (lines 2, 4, 6)"
    assert said.stdout.endswith(f"recommendations see them now.\nwarning: {twice}\n")


def test_items_load_says_what_the_answer_said(tmp_path: Path) -> None:
    with serving(taken(visible=True)) as (port, got):
        assert load(tmp_path, f"localhost:{port}/shop") == (0, "3 items accepted; recommendations see them now.")
        assert got == ["POST /shop/api/items"]
    with serving(taken(visible=False)) as (port, _):
        status, said = load(tmp_path, f"http://127.0.0.1:{port}")
        assert (status, said.count("\n")) == (0, 0)
        assert said.startswith("3 items accepted; recommendations do not see all of them yet")
    with serving(refused) as (port, _):
        assert load(tmp_path, f"127.0.0.1:{port}") == (
            1,
            "error item 'i1' was refused: invalid: /price: too low; 2 items were accepted before it stopped\n",
        )


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b'{"accepted":"3","rejected":[]}'])
def test_an_answer_of_something_else_is_one_line(content: bytes, tmp_path: Path) -> None:
    with serving(lambda handler, lines: content) as (port, _):
        status, said = load(tmp_path, f"127.0.0.1:{port}")
    assert (status, said.count("\n")) == (1, 1)
    assert "gateway" in said


def test_a_gateway_that_closes_a_kept_connection_is_asked_once_more() -> None:
    with serving(taken(visible=True), keep=False) as (port, got), Client(f"127.0.0.1:{port}") as client:
        for _ in range(3):
            assert client.put_items([b"{}"])["accepted"] == 1
    assert len(got) == 3


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of our own for 127.0.0.1, its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True, timeout=120)
    whole = folder / "whole.pem"
    whole.write_bytes((folder / "key.pem").read_bytes() + (folder / "certificate.pem").read_bytes())
    return whole


def test_an_https_address_is_spoken_to_by_tls_and_its_certificate_checked(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with serving(taken(visible=True), tls=tls) as (port, got):
        with Client(f"https://127.0.0.1:{port}") as stranger, pytest.raises(GatewayUnreachable, match="CERTIFICATE"):
            stranger.put_items([b"{}"])
        assert got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with Client(f"https://127.0.0.1:{port}") as client:
            assert client.put_items([b"{}"])["visible"] is True
        expect_listening(f"https://127.0.0.1:{port}")


def test_an_https_address_of_a_plain_server_is_an_error_not_plain_http() -> None:
    with serving(taken(visible=True)) as (port, got):
        with Client(f"https://127.0.0.1:{port}") as client, pytest.raises(GatewayUnreachable, match="SSL"):
            client.put_items([b"{}"])
        assert got == []


def test_an_address_given_to_a_command_is_made_whole() -> None:
    assert gateway_url("localhost:18300") == "http://localhost:18300"
    with pytest.raises(SettingsError, match="expected a URL"):
        gateway_url("redis://localhost")


def test_the_errors_of_the_client_say_what_was_expected() -> None:
    with serving(lambda handler, lines: b"nonsense") as (port, _), Client(f"127.0.0.1:{port}") as client:
        with pytest.raises(NoGateway, match="no JSON object"):
            client.put_items([b"{}"])
        with pytest.raises(GatewayRefused, match="got 501"):
            client.item("x")
