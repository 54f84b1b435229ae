"""The proxies of docs/security.md, in front of a real gateway: what stands there works as it stands there."""

from __future__ import annotations

import http.client
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from contracts.settings import RedisSettings
from contracts.tls import client_context
from state.ports import free_port
from tests.certificates import Certificates
from tests.gateway.test_front import ASKED
from tests.gateway.test_main import gateway

NGINX, CADDY = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"), shutil.which("caddy")
PAGE = Path(__file__).parent.parent / "docs" / "security.md"
MAIN = """\
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{ access_log off; {bodies} {example} }}
"""


def example(kind: str) -> str:
    found = re.search(f"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@contextmanager
def nginx(folder: Path, own: Path, key: Path, gateway_port: int) -> Iterator[int]:
    port = free_port()
    shown = example("nginx").replace("127.0.0.1:8080", f"127.0.0.1:{gateway_port}")
    shown = shown.replace("listen 443", f"listen 127.0.0.1:{port}").replace("/etc/nextclick/own.pem", str(own))
    shown = shown.replace("/etc/nextclick/own.key", str(key)).replace("rate=50r/s", "rate=1r/s")
    shown = shown.replace("burst=100", "burst=5")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    bodies = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in kinds)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, bodies=bodies, example=shown))
    assert NGINX is not None
    running = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        yield port
    finally:
        running.terminate()
        running.wait(60)


def asked(port: int, trusting: ssl.SSLContext, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trusting)
    with closing(connection):
        connection.request(method, path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status


@pytest.mark.slow
@pytest.mark.skipif(NGINX is None, reason="no nginx: the example is not tried")
def test_nginx_ends_tls_limits_rates_and_keeps_the_inside_inside(
    redis_settings: RedisSettings, certificates: Certificates, tmp_path: Path
) -> None:
    own, trusting = certificates.server, client_context(str(certificates.ca))
    with gateway(redis_settings, 1) as (_, behind), nginx(tmp_path, own.certificate, own.key, behind) as port:
        until = time.monotonic() + 60
        while True:
            try:
                assert asked(port, trusting, "GET", "/metrics") == 404
                break
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.05)
        assert asked(port, trusting, "GET", "/api/dead-letters") == 404
        path = "/api/recommendations/homepage"
        statuses = [asked(port, trusting, "POST", path, ASKED) for _ in range(12)]
        assert statuses[:5] == [200] * 5
        assert 429 in statuses
        assert set(statuses) == {200, 429}


@pytest.mark.skipif(CADDY is None, reason="no caddy: the example is not looked at")
def test_caddy_takes_its_example(tmp_path: Path) -> None:
    (tmp_path / "Caddyfile").write_text(example("caddyfile"))
    assert CADDY is not None
    command = [CADDY, "validate", "--adapter", "caddyfile", "--config", str(tmp_path / "Caddyfile")]
    looked = subprocess.run(command, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path)})
    assert looked.returncode == 0, looked.stderr
