"""The receiver on docs/webhooks.md takes what we send, once, and nothing that we did not sign."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from campaigns.delivery import headers_of
from state.ports import free_port
from tests.processes import ROOT, wait_for

SECRET = "a secret of the shop"


def post(port: int, body: bytes, headers: Mapping[str, str]) -> int:
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}/hooks", body, dict(headers)), timeout=60) as answer:
            return int(answer.status)
    except HTTPError as refused:
        with refused:
            return refused.code


def test_the_receiver_of_the_page_takes_what_we_sign_and_counts_it_once() -> None:
    [code] = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs" / "webhooks.md").read_text(), re.DOTALL | re.MULTILINE
    )
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "SECRET": SECRET}
    receiver = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    assert receiver.stdout is not None
    body = json.dumps({"type": "back_in_stock", "item": {"item_id": "boot-1"}, "users": ["anna"]}).encode()

    def taken(secret: str, now_s: float) -> int:
        return post(port, body, headers_of(body, "k-1", [secret], now_s=int(now_s), attempt=1))

    def is_up() -> bool:
        with suppress(URLError):
            return taken("another secret, not theirs", time.time()) == 401
        return False

    try:
        wait_for(is_up)
        assert [taken(SECRET, time.time()), taken(SECRET, time.time()), taken(SECRET, time.time() - 900)] == [
            204,
            204,
            401,
        ]
    finally:
        receiver.terminate()
        said = receiver.stdout.read().decode()
        receiver.wait()
        receiver.stdout.close()
    assert said == "back_in_stock boot-1 ['anna']\n"
