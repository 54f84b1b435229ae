"""The audit log as a gateway writes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.api_keys import new_key
from contracts.errors import StateUnavailable
from contracts.settings import RedisSettings
from gateway.audit import Audit
from state.audit import ADMIN, CATALOGUE, AsyncAuditLog, AuditLog, Entry
from tests.gateway.api_keys import bearer, known, make_key
from tests.gateway.conftest import Start, event
from tests.gateway.test_items import NDJSON, SHOE

OTHER = new_key("other", ["events"], public=False, now_ms=0).text


@pytest.fixture
def audit(redis_settings: RedisSettings) -> Iterator[AuditLog]:
    log = AuditLog(redis_settings)
    yield log
    log.close()


async def test_writes_and_what_admins_ask_are_in_the_audit_log(
    start: Start, redis_settings: RedisSettings, audit: AuditLog
) -> None:
    client = await start(keys="required", visible_wait_ms=0)
    key = make_key(redis_settings, "catalogue", "admin", "events", "recommend")
    await known(client, key)
    mine = bearer(key.text)
    await client.put("/api/items/shoe-1?key=x", json={**SHOE, "title": "no body is kept"}, headers=mine)
    lines = b"\n".join(b'{"item_id":"i%d","title":"t"}' % number for number in range(5))
    await client.post("/api/items", data=lines, headers={**NDJSON, **mine, "X-Forwarded-For": "192.0.2.9"})
    await client.put("/api/items/bad", json={}, headers=mine)
    await client.delete("/api/items/shoe-1", headers=mine)
    await client.get("/api/dead-letters", headers=mine)
    await client.get("/api/items/shoe-1", headers=mine)
    await client.post("/api/events", json=event("e-1"), headers=mine)
    await client.get("/metrics", headers=mine)
    await client.put("/api/items/nobody", json=SHOE, headers=bearer(OTHER))
    written = list(audit.newest(CATALOGUE))
    assert [(one.what, one.source, one.outcome) for one in reversed(written)] == [
        ("PUT /api/items/shoe-1", "127.0.0.1", "202, 1 taken: shoe-1"),
        ("POST /api/items", "127.0.0.1, forwarded for 192.0.2.9", "202, 5 taken: i0, i1, i2"),
        ("PUT /api/items/bad", "127.0.0.1", "422"),
        ("DELETE /api/items/shoe-1", "127.0.0.1", "202, 1 taken: shoe-1"),
    ]
    assert [one.what for one in audit.newest(ADMIN)] == ["GET /api/dead-letters"]
    assert {one.who for one in written} == {key.key.id}
    assert key.text[21:] not in repr(written)


class Away(AsyncAuditLog):
    """A log that Redis takes nothing of."""

    def __init__(self) -> None: ...

    async def append(self, about: str, entry: Entry) -> None:
        raise StateUnavailable("away")


async def test_an_audit_log_that_is_away_is_counted_and_keeps_nobody_from_working() -> None:
    audit = Audit(Away())
    for _ in range(3):
        await audit.note(CATALOGUE, Entry(1, "k", "PUT /api/items/a", "10.0.0.7", "202"))
    assert audit.lost == 3


async def test_metrics_say_how_many_lines_were_lost(start: Start, redis_settings: RedisSettings) -> None:
    client = await start(keys="required")
    assert "nextclick_gateway_audit_lost_total 0.0" in await (await client.get("/metrics")).text()
