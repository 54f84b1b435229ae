"""Frequency caps: a visitor is given so many pages of a placement within a time, and no more."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from contracts.api import FrequencyCap
from contracts.errors import SettingsError
from gateway.settings import GatewaySettings
from tests.gateway.conftest import Start
from tests.gateway.streams import Streams
from tests.gateway.test_scenarios import ask, publish, shown, stock_up

DAY_MS = 86_400_000


async def test_beyond_its_cap_a_placement_answers_nothing_and_says_so(start: Start, streams: Streams) -> None:
    now_ms = [1_800_000_000_000]
    caps = {"push": {"pages": 2, "within": "P1D"}}
    client = await start(caps=caps, clock=lambda: now_ms[0])
    await stock_up(client)
    answers = []
    for session_id in ("s1", "s2", "s3"):
        answers.append(await ask(client, "push", session_id=session_id, user_id="u", limit=3))
        await asyncio.sleep(0.05)  # it is counted in the background
    assert [(len(shown(answer)), answer.get("capped")) for answer in answers] == [(3, None), (3, None), (0, True)]
    assert answers[2]["cursor"] is None
    assert len(shown(await ask(client, "push", user_id="other", limit=3))) == 3
    assert len(shown(await ask(client, "email", user_id="u", limit=3))) == 3
    now_ms[0] += DAY_MS
    assert len(shown(await ask(client, "push", user_id="u", limit=3))) == 3


async def test_a_scenario_over_a_placement_shares_its_cap(start: Start, streams: Streams) -> None:
    client = await start(caps={"push": {"pages": 1, "within": "P1D"}})
    await stock_up(client)
    await publish(client, "evening", {"base": "push"})
    assert shown(await ask(client, "evening", user_id="u"))
    await asyncio.sleep(0.05)
    assert (await ask(client, "push", user_id="u"))["capped"] is True


async def test_a_list_of_a_page_beyond_its_cap_is_empty_alone(start: Start, streams: Streams) -> None:
    client = await start(caps={"push": {"pages": 1, "within": "P1D"}})
    await stock_up(client)
    await ask(client, "push", user_id="u")
    await asyncio.sleep(0.05)
    body = {"session_id": "s", "user_id": "u", "lists": [{"scenario": "push"}, {"scenario": "email", "limit": 2}]}
    answer = await (await client.post("/api/pages", json=body)).json()
    assert [len(one["recommendations"]) for one in answer["lists"]] == [0, 2]
    alone = await (await client.post("/api/pages", json={**body, "lists": [{"scenario": "push"}]})).json()
    assert [one["capped"] for one in alone["lists"]] == [True]


@pytest.mark.parametrize("cap", [{"pages": 0, "within": "P1D"}, {"pages": 1, "within": "P31D"}, {"pages": 1}])
def test_a_cap_that_cannot_be_is_refused(cap: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FrequencyCap.model_validate(cap)
    with pytest.raises(SettingsError, match="CAPS"):
        GatewaySettings(gateway={"caps": {"push": cap}})


async def test_requests_at_once_do_not_pass_a_cap_together(start: Start, streams: Streams) -> None:
    caps = {"push": {"pages": 1, "within": "P1D"}, "email": {"pages": 3, "within": "P1D"}}
    one, other = await start(caps=caps), await start(caps=caps)
    await stock_up(one)
    for round_ in range(5):
        asked = [
            ask(client, name, session_id=f"s{n}", user_id=f"u{round_}")
            for n in range(10)
            for client in (one, other)
            for name in ("push", "email")
        ]
        answers = await asyncio.gather(*asked)
        given = [(answer["scenario"]["name"], bool(shown(answer))) for answer in answers]
        assert (given.count(("push", True)), given.count(("push", False))) == (1, 19)
        assert (given.count(("email", True)), given.count(("email", False))) == (3, 17)


async def test_a_page_without_items_and_a_preview_count_for_no_cap(start: Start, streams: Streams) -> None:
    client = await start(caps={"push": {"pages": 1, "within": "P1D"}})
    await stock_up(client)
    assert shown(await ask(client, "push", user_id="u", candidates=["nothing"])) == []
    await asyncio.sleep(0.05)  # it is given back in the background
    body = {"scenario": {}, "request": {"session_id": "s", "user_id": "u"}}
    for _ in range(2):
        assert shown(await (await client.post("/api/scenarios/push/preview", json=body)).json())
    assert shown(await ask(client, "push", user_id="u"))
    assert (await (await client.post("/api/scenarios/push/preview", json=body)).json())["capped"] is True
