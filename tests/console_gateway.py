"""A gateway in a thread, and what its console shows: figures of two weeks, and reports as the judge writes them."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import orjson
from aiohttp import web
from playwright.sync_api import Browser, Page

from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings, WebhookOptions
from gateway.app import create_app
from gateway.settings import GatewayOptions, GatewaySettings
from state.client import connect
from state.ports import free_port
from tests.browser import opened

HOUR_MS = 3_600_000
SCALE = 10_000
EVERY = 4
"""Hours between those that count anything: fewer are read faster."""
HALF = [
    {"name": "control", "share": 0.5},
    {"name": "margin", "share": 0.5, "patch": {"value": {"match": 1, "margin": 0.1}}},
]
MARGIN_FIRST: dict[str, Any] = {
    "scenario": "homepage",
    "description": "Margins count on the homepage",
    "variants": HALF,
    "guardrails": ["orders"],
    "planned_units": 24_000,
    "overrides": {"me": "margin"},
}


@contextmanager
def gateway(
    redis: RedisSettings, artifacts: str = "", webhooks: WebhookOptions | None = None, **options: Any
) -> Iterator[str]:
    """Serve in a thread; yields its address."""
    port, ready, ended = free_port(), Future[asyncio.AbstractEventLoop](), asyncio.Event()
    given = GatewayOptions(port=port, deadline_ms=10_000, visible_wait_ms=60_000, **options)
    settings = GatewaySettings(redis=redis, log=LogSettings(partitions=4), artifacts=artifacts, gateway=given)
    settings = settings.model_copy(update={"webhooks": webhooks or WebhookOptions()})

    async def serve() -> None:
        runner = web.AppRunner(create_app(settings))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        ready.set_result(asyncio.get_running_loop())
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop = ready.result(timeout=60)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                with urlopen(f"{url}/readyz", timeout=60):
                    break
            except OSError:
                time.sleep(0.02)
        yield url
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(timeout=60)


def console(browser: Browser, url: str, size: tuple[int, int], *refusals: str) -> Iterator[Page]:
    """Open the console; once the test is done with it, it complained of nothing but such refusals (`409`), of which
    Chromium tells.
    """
    shown, problems = opened(browser, f"{url}/console", size=size)
    yield shown
    shown.close()
    told = [one for one in problems if not any(status in one for status in refusals)]
    assert told == [], told


def ask(url: str, method: str, path: str, document: Any = None) -> Any:
    body = None if document is None else json.dumps(document).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(url + path, body, headers, method=method), timeout=60) as answer:
        return json.load(answer)


def fill_figures(redis: RedisSettings, hours: int = 24 * 14) -> None:
    """Two scenarios of two devices each, over two weeks until now; the last week sells a tenth more."""
    client, keys, now = connect(redis), Keys(redis.prefix), int(time.time() * 1000) // HOUR_MS
    pipe = client.pipeline(transaction=False)
    for hour in range(now, now - hours, -EVERY):
        busy = (1.2 + math.sin(hour % 24 / 24 * 2 * math.pi)) * (1.1 if hour > now - hours / 2 else 1.0)
        cells: dict[bytes, int] = {}
        for scenario, clicks in (("homepage", 0.061), ("product", 0.083)):
            for device, share in (("phone", 0.7), ("desktop", 0.3)):
                dims = ["yes", scenario, "3", "", "", "m-2026-11", "ranked", "no", device, "AT"]
                pages = round(400 * busy * share)
                counts = {
                    "pages": pages,
                    "shown": 10 * pages,
                    "sessions": pages // 3,
                    "clicks": round(10 * pages * clicks),
                }
                counts |= {"carts": pages // 20, "orders": pages // 90, "purchases": pages // 80}
                counts |= {"revenue:EUR": pages * 0.42, "margin:EUR": pages * 0.11}
                cells |= {orjson.dumps([*dims, name]): round(SCALE * count) for name, count in counts.items()}
            dims = ["yes", scenario, "3", *[""] * 7]
            pages = round(400 * busy)
            for position in range(1, 11):
                cells[orjson.dumps([*dims, f"shown@{position}"])] = SCALE * pages
                cells[orjson.dumps([*dims, f"clicks@{position}"])] = SCALE * round(
                    pages * 4.4 * clicks / 2 ** (position / 2)
                )
        other = {
            "orders": round(9 * busy),
            "purchases": round(9 * busy),
            "revenue:EUR": 300 * busy,
            "revenue:CHF": 20.0,
        }
        dims = ["no", *[""] * 9]
        cells |= {orjson.dumps([*dims, name]): round(SCALE * count) for name, count in other.items()}
        pipe.hset(keys.attribution_cells(hour), mapping={**cells})
        pipe.zadd(keys.attribution_hours(), {str(hour): hour})
    pipe.hset(keys.attribution_progress(), mapping={"clicks:0": 40_210, "impressions:0": 18_001})
    pipe.hset(keys.attribution_facts(), mapping={"taken": 58_000, "late": 12})
    pipe.execute()
    client.close()


def comparison(metric: str, lift: float, reach: float, **more: Any) -> dict[str, Any]:
    """Return a comparison whose interval reaches so far to both sides of the lift."""
    return {
        "metric": metric,
        "treatment": "margin",
        "units": [11_980, 12_020],
        "figures": [0.1015, 0.1015 * (1 + lift)],
        "difference": 0.1015 * lift,
        "ends": [0.1015 * (lift - reach), 0.1015 * (lift + reach)],
        "lift": lift,
        "lift_ends": [lift - reach, lift + reach],
        "p": 0.0001 if abs(lift) > reach else 0.4,
        "corrected": 0.0002 if abs(lift) > reach else 0.8,
        "early": "",
        "guardrail": False,
        **more,
    }


def report(**fields: Any) -> dict[str, Any]:
    """Return a report of `margin-first` that says to ship."""
    now = int(time.time() * 1000)
    looks = [0.5 / math.sqrt(n + 1) for n in range(120)]
    sums = {"pages": 61_000, "shown": 610_000, "clicks": 6_192, "carts": 900, "orders": 455, "revenue": 23_074.5}
    return {
        "at_ms": now - 12_000,
        "experiment_version": 1,
        "started_ms": now - 10 * 24 * HOUR_MS,
        "decision": "Ship margin: clicks/pages rises by 14.1% [+8.6%, +20.0%].",
        "verdict": "ship",
        "held": None,
        "lag_s": 0.0,
        "units": {"control": 11_980, "margin": 12_020},
        "left_out": {"switched": 14, "held_out": 0},
        "currency": "EUR",
        "metric": "clicks/pages",
        "sample_ratio": {
            "p": 0.79,
            "counts": {"control": 11_980, "margin": 12_020},
            "shares": {"control": 0.5, "margin": 0.5},
        },
        "comparisons": [
            comparison("clicks/pages", 0.141, 0.057),
            comparison("revenue", 0.16, 0.35),
            comparison("orders", -0.012, 0.09, guardrail=True),
        ],
        "figures": {
            "control": sums,
            "margin": {**sums, "clicks": 7_064, "orders": 520, "revenue": 26_840.25},
        },
        "segments": {
            "device": {
                "phone": [comparison("clicks/pages", 0.18, 0.08)],
                "desktop": [comparison("clicks/pages", 0.02, 0.11)],
                "": [comparison("clicks/pages", 0.3, 0.2, early="under 200 units", lift_ends=[None, None])],
            }
        },
        "history": [
            {
                "at_ms": now - (120 - n) * 2 * HOUR_MS,
                "units": 200 * (n + 1),
                "treatment": "margin",
                "figures": [0.1, 0.114],
                "lift": 0.141 + 0.3 * reach * math.sin(n / 7),
                "lift_ends": [None, None] if n < 3 else [0.141 - reach, 0.141 + reach],
            }
            for n, reach in enumerate(looks)
        ],
        **fields,
    }


def write_report(redis: RedisSettings, url: str, name: str, document: dict[str, Any]) -> None:
    """Write a report and its short form, of the run that the gateway knows."""
    document = {**document, "started_ms": ask(url, "GET", f"/api/experiments/{name}")["started_ms"]}
    short = {key: document[key] for key in ("at_ms", "experiment_version", "started_ms", "verdict", "decision")}
    client, keys = connect(redis), Keys(redis.prefix)
    client.set(keys.experiment_report(name), orjson.dumps(document))
    client.hset(keys.experiment_decisions(), name, orjson.dumps(short))
    client.close()
