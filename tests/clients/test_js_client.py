"""The JavaScript client: its own tests in node against a real gateway, its types, and a page in a real browser."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser

from tests.clients.conftest import CLIENTS
from tests.processes import wait_for

JS = CLIENTS / "js"
NODE, NPM = shutil.which("node"), shutil.which("npm")
needs_node = pytest.mark.skipif(NODE is None, reason="no node on the path: the JavaScript client is not run")


@needs_node
def test_its_own_tests_pass_against_a_real_gateway(gateway_url: str) -> None:
    tests = sorted(str(path) for path in (JS / "test").glob("*.test.js"))
    done = subprocess.run(
        [str(NODE), "--test", "--test-reporter=tap", *tests],
        cwd=JS,
        env={**os.environ, "GATEWAY_URL": gateway_url},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "# fail 0" in done.stdout
    assert "# skipped 0" in done.stdout


def test_the_document_that_its_types_are_made_of_is_the_gateways() -> None:
    spec = spec_from_file_location("make_document", JS / "make_document.py")
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.text() == (JS / "openapi.json").read_text(), "the gateway's document is another now: make client-types"


@pytest.mark.slow
@needs_node
def test_its_types_are_what_the_document_and_the_sources_say(tmp_path: Path) -> None:
    package = tmp_path / "js"
    shutil.copytree(JS, package, ignore=shutil.ignore_patterns("node_modules", "types"))
    (package / "types").mkdir()
    if (JS / "node_modules").is_dir():
        (package / "node_modules").symlink_to(JS / "node_modules")
    else:
        _install(package)
    for script in ("types", "check"):
        done = subprocess.run([str(NPM), "run", "-s", script], cwd=package, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    made = {path.name: path.read_text() for path in (package / "types").iterdir()}
    assert made == {path.name: path.read_text() for path in (JS / "types").iterdir()}, "make client-types"


def _install(package: Path) -> None:
    if NPM is None:
        pytest.skip("no npm on the path: types are not made again")
    done = subprocess.run(
        [NPM, "ci", "--no-fund", "--no-audit", "--ignore-scripts"],
        cwd=package,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"openapi-typescript could not be installed: {done.stderr[-200:]}")


PAGE = b"""<!doctype html><title>Shop</title><script type="module">
import { Client, EventQueue } from '/src/index.js'
const queue = new EventQueue(new Client(), { everyMs: 3600000 })
queue.track('view', { session_id: 's-1', item_id: 'boot-1' })
document.title = 'ready'
</script>"""


class _Shop(SimpleHTTPRequestHandler):
    """Serves the client's sources and a page of them, and takes events."""

    taken: list[Any]

    def do_GET(self) -> None:
        if self.path in ("/", "/other"):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE if self.path == "/" else b"<title>other</title>")
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self.taken.extend(orjson.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        body = b'{"accepted": 1, "rejected": [], "token": null}'
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_page_that_is_left_sends_what_waits(browser: Browser) -> None:
    shop = type("Shop", (_Shop,), {"taken": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(shop, directory=str(JS)))
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    page = browser.new_page()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        page.goto(url)
        page.wait_for_function("document.title === 'ready'")
        assert shop.taken == []
        page.goto(f"{url}/other")
        wait_for(lambda: bool(shop.taken))
    finally:
        page.close()
        server.shutdown()
        server.server_close()
        thread.join()
    assert [one["item_id"] for one in shop.taken] == ["boot-1"]
