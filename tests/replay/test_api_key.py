"""An API key goes to gateways, with every request, and to no other target."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from contracts.settings import ServiceSettings
from replay.engine.options import PlayOptions, Questions
from replay.engine.pacer import FixedRate
from replay.engine.run import play_recording
from replay.measure.freshness import FreshnessOptions, listed_items
from tests.replay.test_live import recording
from tests.replay.test_template import template

KEY = "ncs_0000000000000001_" + "a" * 48


@pytest.fixture
def sent() -> list[tuple[str, str | None]]:
    return []


def target(sent: list[tuple[str, str | None]]) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        sent.append((request.path.split("/")[1], request.headers.get("Authorization")))
        found = {"accepted": 1, "rejected": [], "token": "p0:1", "recommendations": [], "items": [{"item_id": "a"}]}
        return web.json_response({**found, "found": []}, status=202 if request.path == "/api/events" else 200)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def test_every_request_to_a_gateway_brings_it(tmp_path: Path, sent: list[tuple[str, str | None]]) -> None:
    async with TestServer(target(sent)) as server:
        url = str(server.make_url(""))
        options = PlayOptions(
            recording(tmp_path, "1a 1b"), url, pace=FixedRate(50), questions=Questions(), watch=1.0, key=KEY
        )
        await play_recording(options, ServiceSettings())
        assert await listed_items(url, key=KEY) == ["a"]
    assert len(sent) > 3
    assert set(sent) == {("api", f"Bearer {KEY}")}


async def test_another_target_is_not_sent_it(tmp_path: Path, sent: list[tuple[str, str | None]]) -> None:
    async with TestServer(target(sent)) as server:
        options = PlayOptions(
            recording(tmp_path, "1a 1b"),
            str(server.make_url("")),
            pace=FixedRate(50),
            questions=Questions(),
            template=template(tmp_path),
            key=KEY,
        )
        await play_recording(options, ServiceSettings())
    assert {name for name, _ in sent} == {"track", "for"}
    assert {authorization for _, authorization in sent} == {None}


def test_options_are_shown_without_it(tmp_path: Path) -> None:
    assert KEY not in repr(PlayOptions(tmp_path, key=KEY))
    assert KEY not in repr(FreshnessOptions(key=KEY))
