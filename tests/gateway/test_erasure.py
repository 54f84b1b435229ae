"""A visitor is erased: nothing of them is left in Redis, its log or its files, what others did stays byte for byte."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from campaigns.caps import packed
from contracts.clock import wall_clock_ms
from contracts.erasure_settings import ErasureOptions
from contracts.keys import Keys
from contracts.settings import RedisSettings
from eventlog.contract import DeadLetter, Record, Topic
from eventlog.files import read_raw
from eventlog.open_log import open_reader, open_writer
from gateway.answer_records import frames_of
from gateway.background import running
from gateway.erasure_work import ErasureWork, erasures_of
from gateway.erasures import Erasures
from gateway.settings import AnswerOptions, GatewaySettings, RecordOptions
from rights.erasure import Status, Subject
from state.audit import ADMIN, CATALOGUE, AuditLog
from state.campaign_files import CampaignFiles
from state.campaign_ledger import mailed_key
from state.client import connect
from state.embedded import EmbeddedRedis
from state.erasures import ErasureStore
from tests.gateway.api_keys import bearer, known, make_key
from tests.gateway.conftest import LOG, Client, Start, event, problem
from tests.gateway.streams import Streams
from tests.gateway.test_scenarios import ask, stock_up
from tests.processes import wait_for
from tests.redis_cut import losing_what_is_written

PEOPLE = {"user-anna": ["sess-a1", "sess-a2"], "user-ben": ["sess-b1"], "user-änne": ["sess-ä"]}


@pytest.fixture
def redis(redis_settings: RedisSettings) -> Iterator[Any]:
    with connect(redis_settings) as client:
        yield client


async def visit(client: Client, user: str, session: str, clicks: int = 3) -> str:
    """A visitor looks around, logs in, and is shown pages; returns the token of the last click."""
    events = [event(f"{session}-{n}", session, f"shoe-{n + 1}") for n in range(clicks)]
    events.append(event(f"{session}-in", session, "shoe-1", user_id=user, context={"device": "phone"}))
    answer = await client.post("/api/events", json=events)
    token: str = (await answer.json())["token"]
    await ask(client, "homepage", session_id=session, user_id=user, after=token)
    return token


def everything(redis: Any, prefix: str) -> dict[bytes, bytes]:
    """All keys of the deployment, as Redis would write them down, without what expires in its own time."""
    return {key: redis.dump(key) or b"" for key in redis.scan_iter(f"{prefix}:*", count=1000)}


def named_in(redis: Any, prefix: str, *names: str) -> list[bytes]:
    """Keys that hold a name, in the key or in any byte of the value."""
    wanted = [name.encode() for name in names]
    return sorted(
        key for key, raw in everything(redis, prefix).items() if any(name in key or name in raw for name in wanted)
    )


def log_of(redis_settings: RedisSettings) -> dict[tuple[str, int, int], bytes]:
    found = {}
    for topic in (Topic.CLICKS, Topic.IMPRESSIONS):
        reader = open_reader(LOG, redis_settings, topic, list(range(LOG.partitions)), "test")
        for partition, earliest in reader.earliest().items():
            reader.seek(partition, earliest)
        while batches := reader.poll(1000, 0.0):
            for batch in batches:
                for message in batch.messages:
                    found[topic.value, batch.partition, message.offset] = message.value
        reader.close()
    return found


async def receipt_of(client: Client, answer: dict[str, Any], **headers: Any) -> dict[str, Any]:
    """The receipt of an erasure, once it is done."""
    until = time.monotonic() + 60
    while True:
        response = await client.get(f"/api/erasures/{answer['id']}", **headers)
        found: dict[str, Any] = await response.json()
        if response.status == 200 and found["status"] == "done":
            return found
        assert time.monotonic() < until, found
        await asyncio.sleep(0.05)


def removed(receipt: dict[str, Any]) -> dict[str, int]:
    return {one["where"]: one["count"] for one in receipt["removed"]}


async def test_nothing_is_left_of_a_user_and_all_of_the_others(
    start: Start, streams: Streams, redis_settings: RedisSettings, redis: Any, tmp_path: Path
) -> None:
    recorded, kept = tmp_path / "recorded", tmp_path / "kept"
    client = await start(
        caps={"push": {"pages": 5, "within": "P1D"}},
        record=RecordOptions(to=str(recorded)),
        answers=AnswerOptions(to=str(kept)),
    )
    await stock_up(client)
    for user, sessions in PEOPLE.items():
        await client.put(f"/api/users/{user}", json={"age": 34})
        for session in sessions:
            await visit(client, user, session)
        await ask(client, "push", session_id=sessions[0], user_id=user)
    writer = open_writer(LOG, redis_settings)
    for name in ("sess-a1", "sess-b1"):
        writer.dead_letter(
            [DeadLetter("gateway", 0, "invalid", "no", 1, b'{"session_id": "%b", "v": 3' % name.encode())]
        )
    writer.close()
    await until_shown(client, redis_settings)
    mine, names = PEOPLE["user-anna"], ("user-anna", "sess-a1", "sess-a2")
    before_log = log_of(redis_settings)
    others = {place: value for place, value in before_log.items() if not any(name.encode() in value for name in names)}
    keys_of_others = [
        key
        for key in everything(redis, redis_settings.prefix)
        if any(name.encode() in key for name in ("user-ben", "sess-b1", "user-änne", "sess-ä"))
    ]
    before = {key: redis.dump(key) for key in keys_of_others}
    answer = await (await client.delete("/api/users/user-anna")).json()
    assert (answer["status"], answer["visible"], answer["subject"]) == ("running", True, "user")
    receipt = await receipt_of(client, answer)
    assert named_in(redis, redis_settings.prefix, *names) == []
    assert log_of(redis_settings) == others
    assert {key: redis.dump(key) for key in keys_of_others} == before
    told = removed(receipt)
    assert told["log:clicks"] == 4 * len(mine)
    assert told["log:impressions"] == len(before_log) - len(others) - told["log:clicks"]
    assert (told["redis:user"], told["redis:session"], told["redis:dead_letters"], told["redis:sent"]) == (1, 2, 1, 1)
    assert receipt["looked"] == {"at_ms": receipt["looked"]["at_ms"], "clean": True, "found": []}
    assert told["file:recordings"] == 8
    assert told["file:answers"] == 3
    assert texts_in(recorded).count(b"user-anna") == texts_in(kept).count(b"sess-a") == 0
    assert texts_in(recorded).count(b"sess-b1") == 8  # the event's id, and the session's
    assert texts_in(kept).count(b"sess-b1") > 0
    assert {"aggregate:models", "file:backups"} <= {one["where"] for one in receipt["remains"]}


def texts_in(folder: Path) -> bytes:
    """All that files of a folder say, unpacked."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.endswith(".zst"):
            found.append(b"\n".join(read_raw(path)))
        elif path.name.endswith(".kept"):
            found += [zstandard.ZstdDecompressor().decompress(data) for _, _, data in frames_of(path)]
        else:
            found.append(path.read_bytes())
    return b"\n".join(found)


async def test_of_a_session_that_is_erased_the_user_and_other_sessions_stay(
    start: Start, streams: Streams, redis_settings: RedisSettings, redis: Any
) -> None:
    client = await start()
    await stock_up(client)
    await client.put("/api/users/user-anna", json={"age": 34})
    for session in ("sess-a1", "sess-a2"):
        await visit(client, "user-anna", session)
    answer = await (await client.delete("/api/sessions/sess-a1")).json()
    assert (answer["subject"], answer["status"]) == ("session", "running")
    receipt = await receipt_of(client, answer)
    assert named_in(redis, redis_settings.prefix, "sess-a1") == []
    assert removed(receipt)["log:clicks"] == 4
    assert await (await client.get("/api/users/user-anna")).json() == {"age": 34}
    assert (await client.get("/api/sessions/sess-a2")).status == 200
    assert "redis:profile" in {one["where"] for one in receipt["remains"]}


async def test_who_comes_back_is_a_new_visitor_and_nothing_of_the_past_is_taken_any_more(
    start: Start, streams: Streams, redis_settings: RedisSettings
) -> None:
    client = await start()
    await stock_up(client)
    await visit(client, "user-anna", "sess-a1")
    answer = await (await client.delete("/api/users/user-anna")).json()
    assert removed(await receipt_of(client, answer))["log:clicks"] == 4
    late = event("late", "sess-a1", "shoe-2", ts=answer["asked_ms"] - 1000)
    unplain = {**event("late-2", "sess-x", "shoe-2", ts=answer["asked_ms"] - 1000, user_id="user-anna"), "mine": 1}
    for body in (late, unplain):
        assert (await (await client.post("/api/events", json=body)).json())["accepted"] == 0
    token = await visit(client, "user-anna", "sess-a1", clicks=1)
    await ask(client, "homepage", session_id="sess-a1", user_id="user-anna", after=token)
    found = await (await client.get("/api/sessions/sess-a1")).json()
    assert found["events"] == 2
    receipt = await receipt_of(client, answer)
    assert receipt["looked"]["clean"] is True
    assert b"late" not in b"".join(log_of(redis_settings).values())
    assert "nextclick_gateway_erased_events_total 2.0" in await (await client.get("/metrics")).text()


async def test_an_erasure_of_nobody_and_one_that_comes_twice_are_done_too(client: Client) -> None:
    await problem(await client.get("/api/erasures/0123456789abcdef"), 404)
    for path in ("/api/users/nobody", "/api/sessions/nobody"):
        first, second = [await (await client.delete(path)).json() for _ in range(2)]
        for answer in (first, second):
            receipt = await receipt_of(client, answer)
            assert (receipt["removed"], receipt["looked"]["clean"], receipt["waits_for"]) == ([], True, None)


async def test_who_comes_back_and_asks_again_while_the_first_erasure_is_under_way_is_erased_too(
    client: Client, streams: Streams, redis_settings: RedisSettings, redis: Any
) -> None:
    await stock_up(client)
    await visit(client, "user-anna", "sess-a1")
    store = ErasureStore(redis_settings)
    await asyncio.to_thread(wait_for, lambda: store.lead("somebody who stands still"))
    first = await (await client.delete("/api/users/user-anna")).json()
    await asyncio.sleep(0.01)
    await visit(client, "user-anna", "sess-a2")
    second = await (await client.delete("/api/users/user-anna")).json()
    store.leave("somebody who stands still")
    receipts = [await receipt_of(client, answer) for answer in (first, second)]
    assert first["id"] != second["id"]
    assert [one["looked"]["clean"] for one in receipts] == [True, True]
    assert b"user-anna" not in b"".join(log_of(redis_settings).values())
    assert named_in(redis, redis_settings.prefix, "user-anna", "sess-a1", "sess-a2") == []
    store.close()


async def test_with_keys_an_admin_erases_and_no_line_of_the_audit_log_says_whom(
    start: Start, streams: Streams, redis_settings: RedisSettings, redis: Any
) -> None:
    client = await start(keys="required")
    admin, catalogue = make_key(redis_settings, "admin", "catalogue"), make_key(redis_settings, "catalogue")
    await known(client, admin)
    await known(client, catalogue)
    mine = bearer(admin.text)
    await client.put("/api/users/user-anna", json={"age": 34}, headers=mine)
    await client.put("/api/users/user-ben", json={"age": 34}, headers=mine)
    await problem(await client.delete("/api/users/user-anna", headers=bearer(catalogue.text)), 403)
    answer = await (await client.delete("/api/users/user-anna", headers=mine)).json()
    receipt = await receipt_of(client, answer, headers=mine)
    assert removed(receipt)["redis:user"] == 1
    audit = AuditLog(redis_settings)
    told = [one.what for about in (CATALOGUE, ADMIN) for one in audit.newest(about)]
    audit.close()
    assert {"PUT /api/users/(erased)", "PUT /api/users/user-ben", "DELETE /api/users/(erased)"} <= {*told}
    assert named_in(redis, redis_settings.prefix, "user-anna") == []


async def test_what_comes_back_with_a_backup_is_erased_again_by_the_list_beside_redis(
    start: Start, redis_settings: RedisSettings, redis: Any, tmp_path: Path
) -> None:
    listed = tmp_path / "erasures.json"
    erasure = ErasureOptions(list=str(listed))
    client = await start(erasure=erasure)
    await client.put("/api/users/user-anna", json={"age": 34})
    log_of_two(redis_settings)
    backup = {key: redis.dump(key) for key in redis.scan_iter(f"{redis_settings.prefix}:*")}
    answer = await (await client.delete("/api/users/user-anna")).json()
    before = await receipt_of(client, answer)
    until = time.monotonic() + 60
    while b'"done"' not in listed.read_bytes():
        assert time.monotonic() < until
        await asyncio.sleep(0.05)
    await client.close()
    assert b"anna" not in listed.read_bytes()
    assert b"sess-a" not in listed.read_bytes()
    redis.delete(*redis.scan_iter(f"{redis_settings.prefix}:*"))
    for key, raw in backup.items():
        redis.restore(key, 0, raw)
    assert named_in(redis, redis_settings.prefix, "user-anna", "sess-a1") != []
    again = await start(erasure=erasure)
    receipt = await receipt_of(again, answer)
    assert named_in(redis, redis_settings.prefix, "user-anna", "sess-a1") == []
    assert len(log_of(redis_settings)) == 3
    assert receipt["looked"]["clean"] is True
    assert removed(receipt) == {place: 2 * count for place, count in removed(before).items()}


def log_of_two(redis_settings: RedisSettings) -> None:
    writer = open_writer(LOG, redis_settings)
    for name, user in (("sess-a1", "user-anna"), ("sess-b1", "user-ben")):
        raws = [orjson.dumps(event(f"{name}-{n}", name, "shoe-1", user_id=user)) for n in range(3)]
        writer.append(Topic.CLICKS, [Record(name, raw) for raw in raws])
    writer.close()


class Killed(BaseException):
    """The process dies."""


@pytest.mark.parametrize("step", range(0, 40, 4))
async def test_an_erasure_that_dies_at_any_step_is_done_by_the_next(
    redis_settings: RedisSettings, redis: Any, step: int
) -> None:
    settings = GatewaySettings(redis=redis_settings, log=LOG)
    log_of_two(redis_settings)
    erasures = Erasures(settings, wall_clock_ms)
    erasures.begin(Subject.USER, "user-anna", wall_clock_ms(), {})
    steps = iter(range(1000))

    def dies(_: float) -> None:
        if next(steps) == step:
            raise Killed

    with suppress(Killed):
        ErasureWork(settings, erasures.store, "one", wall_clock_ms, sleep=dies).run()
    erasures.store.leave("one")
    ErasureWork(settings, erasures.store, "two", wall_clock_ms, sleep=lambda _: None).run()
    [done] = erasures_of(erasures.store)
    assert done.status is Status.DONE
    assert named_in(redis, redis_settings.prefix, "user-anna", "sess-a1") == []
    assert len(log_of(redis_settings)) == 3
    erasures.store.close()


def asked_of(redis: Any, command: str) -> int:
    return int(redis.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def test_asking_for_an_erasure_costs_the_same_however_many_are_kept(redis_settings: RedisSettings, redis: Any) -> None:
    erasures = Erasures(GatewaySettings(redis=redis_settings, log=LOG), wall_clock_ms)
    before = asked_of(redis, "hgetall")
    names = {erasures.begin(Subject.USER, "user-anna", at_ms, {}).id for at_ms in range(1000, 1010)}
    assert len(names) == 10  # what came since the one before is this one's
    assert asked_of(redis, "hgetall") == before
    erasures.store.close()


async def test_an_erasure_that_gets_the_number_of_one_that_redis_lost_is_heard_of(tmp_path: Path) -> None:
    """The loop stands still while Redis dies and comes back: all that it can see is another connection."""
    with EmbeddedRedis(tmp_path) as server:
        settings = GatewaySettings(redis=RedisSettings(url=server.url), log=LOG)
        erasures = Erasures(settings, wall_clock_ms)
        erasures.store.secret()
        async with running(erasures.follow()):
            with losing_what_is_written(server):
                erasures.begin(Subject.USER, "user-anna", wall_clock_ms(), {})
                await until(lambda: erasures.names.covers(None, "user-anna", 1))
            erasures.begin(Subject.USER, "user-ben", wall_clock_ms(), {})
            assert erasures.store.number() == 1
            await until(lambda: erasures.names.covers(None, "user-ben", 1))
        erasures.store.close()


async def until(holds: Callable[[], bool], within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def until_shown(client: Client, redis_settings: RedisSettings) -> None:
    """Impressions are written behind the answers."""
    until = time.monotonic() + 60
    while sum(place[0] == "impressions" for place in log_of(redis_settings)) < 7:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)


async def test_who_waits_for_items_and_what_campaigns_wrote_is_erased_of_one_user_alone(
    start: Start, streams: Streams, redis: Any, redis_settings: RedisSettings, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "picks.jsonl").write_bytes(b'{"user_id":"user-anna"}\n{"user_id":"user-ben"}\n')
        (tmp_path / name / "own.jsonl").write_bytes(b'{"user_id":"user-anna"}\n')  # of the shop: no campaign wrote it
        files = CampaignFiles(redis_settings)
        files.note(tmp_path / name / "picks.jsonl", 1)
        files.note(tmp_path / name / "gone.csv", 1)
        files.close()
    other = CampaignFiles(redis_settings, "mail-2")
    other.note(tmp_path / "one" / "own.jsonl", 1)
    other.close()
    client, prefix = await start(), redis_settings.prefix
    keys, now_ms = Keys(prefix), wall_clock_ms()
    redis.zadd(keys.waits(7), {"user-anna": now_ms - 10, "user-ben": now_ms - 10})
    redis.zadd(keys.waits(8), {"user-anna": now_ms + 3_600_000})
    for user in ("user-anna", "user-ben"):
        redis.hset(mailed_key(keys, LOG.partitions, user), user, packed({7: now_ms - 10}))
    call = {"id": "c", "at_ms": now_ms - 10, "users": ["user-anna", "user-ben"]}
    redis.hset(keys.calls("webhooks"), mapping={"c": orjson.dumps(call), "c:tries": 1})
    answer = await client.delete("/api/users/user-anna")
    receipt = await receipt_of(client, await answer.json())
    told = removed(receipt)
    assert (told["redis:waits"], told["redis:calls"], told["file:campaigns"]) == (1, 1, 2)
    for name in ("one", "two"):
        assert (tmp_path / name / "picks.jsonl").read_bytes() == b'{"user_id":"user-ben"}\n'
        assert (tmp_path / name / "own.jsonl").read_bytes() == b'{"user_id":"user-anna"}\n'
    [why] = [one["why"] for one in receipt["remains"] if one["where"] == "file:campaigns"]
    assert why.startswith("campaigns wrote on mail-2: ")
    assert redis.zrange(keys.waits(7), 0, -1) == [b"user-ben"]
    assert redis.zrange(keys.waits(8), 0, -1) == [b"user-anna"], "a new visitor's"
    assert orjson.loads(redis.hget(keys.calls("webhooks"), "c"))["users"] == ["user-ben"]
    assert redis.hget(mailed_key(keys, LOG.partitions, "user-anna"), "user-anna") is None
    assert redis.hget(mailed_key(keys, LOG.partitions, "user-ben"), "user-ben") == packed({7: now_ms - 10})
