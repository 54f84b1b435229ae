"""The recipe of a table that gateways follow, done on a copy."""

from __future__ import annotations

from pathlib import Path

from contracts.settings import RedisSettings
from tests.extending.scratch import Scratch

SERVE = """
import asyncio
from aiohttp.test_utils import TestClient, TestServer
from contracts.ids import item_key
from contracts.keys import LIKES
from gateway.app import create_app
from gateway.settings import GatewaySettings
from gateway.tables import REPLICAS
from state.tables import TableWriter

async def main() -> None:
    settings = GatewaySettings()
    writer = TableWriter(settings.redis, LIKES)
    key = item_key("shoe-1").to_bytes(8, "little")
    writer.commit({key: (7).to_bytes(8, "little")})
    async with TestClient(TestServer(create_app(settings))) as client, asyncio.timeout(60):
        while (await client.get("/readyz")).status != 200:
            await asyncio.sleep(0.01)
        end = writer.commit({key: (8).to_bytes(8, "little"), item_key("shoe-2").to_bytes(8, "little"): b"bad"})
        assert await client.app[REPLICAS]["likes"].catch_up(end)
        ready = await (await client.get("/readyz")).json()
        metrics = await (await client.get("/metrics")).text()
    print(ready["tables"]["likes"]["following"])
    print("\\n".join(line for line in metrics.splitlines() if 'table="likes"' in line))

asyncio.run(main())
"""


def test_a_followed_table_is_three_edits(tmp_path: Path, redis_settings: RedisSettings) -> None:
    scratch = Scratch(tmp_path)
    touched = scratch.follow("A Redis table that gateways follow")
    assert touched == [
        "retrieval/like_columns.py",
        "contracts/keys.py",
        "retrieval/serving_state.py",
        "gateway/tables.py",
    ]
    prefix = redis_settings.prefix
    said = scratch.says(SERVE, NEXTCLICK_REDIS__URL=redis_settings.url, NEXTCLICK_REDIS__PREFIX=prefix).splitlines()
    assert said[0] == "True"
    found = {line.split("{")[0].removeprefix("nextclick_gateway_"): float(line.split()[-1]) for line in said[1:]}
    assert found["table_rows"] == 1
    assert found["table_skipped_total"] == 1
    assert found["table_changes_behind"] == 0
