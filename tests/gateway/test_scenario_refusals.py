"""Scenarios that cannot be: each is refused with a pointer to what is wrong, or for its cost, and changes nothing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse
from pydantic import ValidationError

from contracts.scenarios import Scenario
from gateway.scenarios import decode
from tests.gateway.conftest import Client, problem
from tests.gateway.streams import Streams
from tests.gateway.test_bodies import LONGEST_TURN_S, longest_turn_beside
from tests.gateway.test_scenarios import ask, publish, shown, stock_up


def filled(document: Any, value: object) -> Any:
    """Return a document with `value` where it says `...`."""
    if isinstance(document, dict):
        return {name: filled(one, value) for name, one in document.items()}
    if isinstance(document, list):
        return [filled(one, value) for one in document]
    return value if document is ... else document


def named(document: Any) -> str:
    return str(document).replace("Ellipsis", "_")


@pytest.mark.parametrize(
    ("document", "pointer", "said"),
    [
        ({"fitler": "price < 5"}, "/fitler", "Extra inputs are not permitted: did you mean filter?"),
        ({"filter": "pric < 5"}, "/filter", "line 1, column 1: no field is called pric: did you mean price?"),
        ({"boosts": [{"if": "price < 5"}, {"if": "price <", "multiply": 2}]}, "/boosts/0/multiply", "Field required"),
        ({"boosts": [{"if": "price <", "multiply": 2}]}, "/boosts/0/if", "line 1, column 8: expected"),
        ({"base": "nowhere"}, "/base", "there is no scenario 'nowhere'"),
        ({"value": {"match": "much"}}, "/value", "valid number"),
        (
            {"pins": [{"item_id": "a", "position": 1}, {"item_id": "b", "position": 1}]},
            "",
            "'b' at 1 and 'a' at 1 overlap",
        ),
        (
            {"boosts": [{"if": f"price < {'1' * 7000}", "multiply": 2}] * 3},
            "",
            "expected expressions of 20,000 characters in all, got 21,024",
        ),
    ],
    ids=["unknown", "field", "missing", "syntax", "base", "weight", "pins", "long"],
)
async def test_a_document_that_cannot_be_is_refused_with_a_pointer_and_changes_nothing(
    client: Client, document: dict[str, Any], pointer: str, said: str
) -> None:
    refused = await problem(await client.put("/api/scenarios/deals", json=document), 422)
    assert refused["errors"][0]["pointer"].startswith(pointer)
    assert any(said in one["detail"] for one in refused["errors"])
    assert (await client.get("/api/scenarios/deals")).status == 404
    draft = {"scenario": document, "request": {"session_id": "s"}}
    under = await problem(await client.post("/api/scenarios/deals/preview", json=draft), 422)
    assert under["errors"][0]["pointer"].startswith(f"/scenario{pointer}")


@pytest.mark.parametrize("wrong", [True, False, "1", "0.5", [1], {}], ids=repr)
@pytest.mark.parametrize(
    "document",
    [
        *({name: ...} for name in ("diversity", "new_share", "small_supplier_share", "popularity_debias", "explore")),
        *({"value": {name: ...}} for name in ("match", "trend", "stock", "margin", "fresh", "season")),
        *({"sources": {name: ...}} for name in ("nearest", "covisited", "trending", "recent", "new")),
        {"boosts": [{"if": "price < 5", "multiply": ...}]},
        {"pins": [{"item_id": "a", "position": ...}]},
        {"limits": [{"field": "brand", "share": ...}]},
        {"limits": [{"field": "brand", "most": ...}]},
        {"fatigue": {"shown": ..., "within": "P1D"}},
    ],
    ids=named,
)
def test_only_a_number_is_a_number(document: dict[str, Any], wrong: object) -> None:
    assert Scenario.model_validate(filled(document, 0.5 if "explore" in document else 1))
    with pytest.raises(ValidationError):
        Scenario.model_validate(filled(document, wrong))


@pytest.mark.parametrize("wrong", [0, 1_790_000_000, 1.5, True], ids=repr)
@pytest.mark.parametrize(
    "document",
    [
        {"pins": [{"item_id": "a", "position": 1, "from": ...}]},
        {"boosts": [{"if": "price < 5", "multiply": 2, "until": ...}]},
        {"fatigue": {"shown": 5, "within": ...}},
        {"seen": ...},
        {"fallback": [...]},
    ],
    ids=named,
)
def test_a_number_is_no_moment_no_time_and_no_word(document: dict[str, Any], wrong: object) -> None:
    with pytest.raises(ValidationError):
        Scenario.model_validate(filled(document, wrong))


@pytest.mark.parametrize(
    "condition", ['contains(title, "x{}")', 'lower(title) == "x{}"', "age_hours < {}", "session.events == {}"]
)
async def test_what_is_read_of_each_candidate_is_bounded(client: Client, condition: str) -> None:
    most, many = (" or ".join(condition.format(at) for at in range(count)) for count in (100, 101))
    assert (await publish(client, "deals", {"filter": most}))["visible"]
    refused = await problem(await client.put("/api/scenarios/deals", json={"filter": many}), 422)
    assert refused["errors"][0]["pointer"] == "/filter"
    assert "expected conditions that read at most 100 fields of each candidate, got 101" in refused["detail"]
    boosts = [{"if": condition.format(at), "multiply": 2} for at in range(100)]
    assert (await publish(client, "deals", {"boosts": boosts}))["visible"]
    both = await problem(await client.put("/api/scenarios/deals", json={"filter": condition, "boosts": boosts}), 422)
    assert both["errors"][0]["pointer"].startswith(("/boosts/99/if", "/filter"))


async def test_the_largest_filter_over_titles_holds_nobody_up(client: Client, streams: Streams) -> None:
    lines = [{"item_id": f"i{at}", "title": f"Thing {at} red", "category": f"c{at % 7}"} for at in range(3000)]
    body = b"\n".join(orjson.dumps(line) for line in lines)
    loaded = await client.post("/api/items", data=body, headers={"Content-Type": "application/x-ndjson"})
    assert (await loaded.json())["visible"]
    await publish(client, "slow", {"filter": " or ".join(f'contains(title, "x{at}")' for at in range(100))})
    answer, longest_s = await longest_turn_beside(ask(client, "slow"))
    assert (shown(answer), answer["starved_by"]["items"]) == ([], 3000)
    assert longest_s < LONGEST_TURN_S


async def test_the_fields_that_become_columns_are_bounded(client: Client) -> None:
    most, many = (" or ".join(f"attributes.a{at} == 1" for at in range(count)) for count in (20, 21))
    assert (await publish(client, "deals", {"filter": most}))["visible"]
    refused = await problem(await client.put("/api/scenarios/deals", json={"filter": many}), 422)
    assert refused["errors"][0]["pointer"] == "/filter"
    assert "expected conditions over at most 20 fields of documents, got 21" in refused["detail"]


@pytest.mark.parametrize(
    "chain",
    [
        [("c1", "c1")],
        [("c1", None), ("c2", "c1"), ("c1", "c2")],
        [("homepage", None), ("c1", "homepage"), ("homepage", "c1")],
    ],
    ids=str,
)
async def test_bases_never_lead_round_in_a_circle(client: Client, chain: list[tuple[str, str | None]]) -> None:
    *before, (last, base) = chain
    for name, under in before:
        await publish(client, name, {} if under is None else {"base": under})
    refused = await problem(await client.put(f"/api/scenarios/{last}", json={"base": base}), 422)
    assert (refused["errors"][0]["pointer"], "no circle" in refused["detail"]) == ("/base", True)


@pytest.mark.parametrize("value", ["x", 5, {"match": "1"}, {"matching": 1}], ids=str)
async def test_a_value_model_that_is_none_is_pointed_at_where_it_stands(client: Client, value: object) -> None:
    refused = await problem(await client.put("/api/scenarios/deals", json={"value": value}), 422)
    assert {one["pointer"] for one in refused["errors"]} <= {"/value", "/value/match", "/value/matching"}


async def test_a_draft_that_another_version_overtook_is_refused_and_changes_nothing(client: Client) -> None:
    async def put(made_from: object, price: int) -> ClientResponse:
        document = {"filter": f"price < {price}"}
        return await client.put("/api/scenarios/deals", params={"made_from": str(made_from)}, json=document)

    assert (await (await put(0, 10)).json())["version"] == 1
    assert "version 1 of 'deals' was published meanwhile" in (await problem(await put(0, 20), 409))["detail"]
    assert (await (await put(1, 30)).json())["version"] == 2
    refused = await problem(await put(1, 40), 409)
    assert refused["detail"] == (
        "version 2 of 'deals' was published meanwhile, this draft was made from version 1: look at it, and try again"
    )
    assert (await problem(await put("-1", 40), 422))["errors"][0]["pointer"] == "/made_from"
    assert (await (await client.get("/api/scenarios/deals")).json())["scenario"] == {"filter": "price < 30"}
    assert (await client.delete("/api/scenarios/deals")).status == 200
    assert (await put(0, 50)).status == 200


async def test_fields_that_no_item_has_are_refused_with_what_was_meant(client: Client, streams: Streams) -> None:
    await stock_up(client)
    known = (
        "item_id, title, description, category, brand, supplier, price, margin, stock, regions, min_age, image_url, "
        "image_vector, attributes, link or attributes.NAME"
    )
    wrong = {
        "/fields/1": f"expected {known}, got 'titel': did you mean title?",
        "/fields/3": f"expected {known}, got 'xyz'",
    }
    fields = ["title", "titel", "attributes.size", "xyz"]
    asked = {"session_id": "s", "fields": fields}
    for name, document, under in (
        ("POST /api/recommendations/homepage", asked, ""),
        ("POST /api/pages", {"session_id": "s", "lists": [{"scenario": "homepage", "fields": fields}]}, "/lists/0"),
        ("PUT /api/scenarios/deals", {"fields": fields}, ""),
        (
            "POST /api/scenarios/deals/preview",
            {"scenario": {"fields": fields}, "request": {"session_id": "s"}},
            "/scenario",
        ),
        ("POST /api/recommendations/homepage", {**asked, "context": {}}, ""),
    ):
        method, path = name.split()
        refused = await problem(await client.request(method, path, json=document), 422)
        assert {one["pointer"]: one["detail"] for one in refused["errors"]} == {
            under + where: detail for where, detail in wrong.items()
        }


@pytest.mark.parametrize(
    ("method", "path", "body", "pointers"),
    [
        ("PUT", "/api/scenarios/deals", b'{"diversity": 0.1, "\\u0064iversity": 0.9}', ["/diversity"]),
        (
            "PUT",
            "/api/scenarios/deals",
            b'{"value": {"match": 1, "match": 2}, "boosts": [], "boosts": []}',
            ["/boosts", "/value/match"],
        ),
        (
            "POST",
            "/api/scenarios/deals/preview",
            b'{"scenario": {"bury": [], "bury": ["a"]}, "request": {"session_id": "s"}}',
            ["/scenario/bury"],
        ),
        ("PUT", "/api/users/u1", b'{"age": 3, "sizes": {"a/b": "1", "a/b": "2"}}', ["/sizes/a~1b"]),
        ("PATCH", "/api/users/u1", b'{"age": 3, "age": 4}', ["/age"]),
        ("POST", "/api/users/u1/do-not-show", b'{"item_id": "a", "item_id": "b"}', ["/item_id"]),
        ("PUT", "/api/items/shoe-1", b'{"title": "a", "title": "b"}', ["/title"]),
        ("POST", "/api/stock", b'[{"item_id": "shoe-1", "stock": 0, "stock": 5}]', ["/0/stock"]),
        ("PATCH", "/api/items/shoe-1", b'{"price": 1, "attributes": {"x": [{"y": 1, "y": 2}]}}', ["/attributes/x/0/y"]),
    ],
)
async def test_a_name_that_is_given_twice_is_refused_where_persons_write(
    client: Client, streams: Streams, method: str, path: str, body: bytes, pointers: list[str]
) -> None:
    answer = await client.request(method, path, data=body, headers={"Content-Type": "application/json"})
    refused = await problem(answer, 422)
    assert sorted(one["pointer"] for one in refused["errors"]) == pointers
    name = pointers[0].rpartition("/")[2].replace("~1", "/")
    assert refused["errors"][0]["detail"] == f"expected {name!r} once in its object, got it more than once"


async def test_a_name_that_is_given_twice_in_a_large_body_is_refused_without_a_place(
    client: Client, streams: Streams
) -> None:
    lines = b", ".join(b'{"item_id": "shoe-%d", "stock": 0}' % at for at in range(9000))
    headers = {"Content-Type": "application/json"}
    twice = b'[{"item_id": "shoe-1", "stock": 0, "stock": 5}, %b]' % lines
    refused = await problem(await client.post("/api/stock", data=twice, headers=headers), 422)
    assert [one["pointer"] for one in refused["errors"]] == [""]
    assert refused["detail"].startswith("body: expected each name once in its object, got one more than once: in more")
    taken = await client.post("/api/stock", data=b"[%b]" % lines, headers=headers)
    assert "more than once" not in await taken.text()


async def test_a_draft_hears_everything_that_is_wrong_at_once(client: Client) -> None:
    document = {
        "filter": "pric < 5",
        "diversity": 2,
        "boosts": [
            {"if": "true", "multiply": 2, "from": "2026-02-01", "until": "2026-01-01"},
            {"if": "(", "multiply": 2},
        ],
        "fields": ["titel"],
        "base": "sale",
    }
    pointers = ["/boosts/0", "/diversity", "/fields/0", "/filter", "/boosts/1/if", "/base"]
    refused = await problem(await client.put("/api/scenarios/deals", json=document), 422)
    assert [one["pointer"] for one in refused["errors"]] == pointers
    body = {"scenario": document, "request": {"limit": 0}}
    under = await problem(await client.post("/api/scenarios/deals/preview", json=body), 422)
    assert [one["pointer"] for one in under["errors"]] == [
        *(f"/scenario{one}" for one in pointers),
        "/request/session_id",
        "/request/limit",
    ]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (" and ".join(["price<9"] * 83), None),
        (" and ".join(["price<9"] * 84), "String should have at most 1000 characters"),
        ("not " * 61 + "has(price)", "expected at most 60 parts inside each other"),
        ("(" * 496 + "price<9" + ")" * 496, None),
    ],
    ids=["most", "longer", "deeper", "brackets"],
)
async def test_what_a_filter_of_a_request_may_cost_is_bounded(
    client: Client, streams: Streams, condition: str, said: str | None
) -> None:
    await stock_up(client)
    answer = await client.post("/api/recommendations/homepage", json={"session_id": "s", "filter": condition})
    if said is None:
        assert (answer.status, shown(await answer.json())) == (200, [])
    else:
        assert said in (await problem(answer, 422))["errors"][0]["detail"]


async def test_a_document_that_is_too_large_is_refused_and_changes_nothing(client: Client, streams: Streams) -> None:
    await publish(client, "deals", {"bury": ["shoe-1"]})
    large = {"bury": [f"{n:0190}" for n in range(600)]}
    for answer in (
        await client.put("/api/scenarios/deals", json=large),
        await client.post("/api/scenarios/deals/preview", json={"scenario": large, "request": {"session_id": "s"}}),
    ):
        assert "expected a document of at most 100,000 bytes, got 115,810" in (await problem(answer, 413))["detail"]
    kept = await (await client.get("/api/scenarios/deals")).json()
    assert (kept["version"], kept["scenario"]) == (1, {"bury": ["shoe-1"]})


async def test_there_are_as_many_scenarios_as_every_process_can_keep(
    client: Client, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.scenario_pages.MAX_SCENARIOS", 1)
    await publish(client, "deals", {})
    refused = await client.put("/api/scenarios/sale", json={})
    assert "expected at most 1 scenarios: delete one first" in (await problem(refused, 507))["detail"]
    assert (await publish(client, "deals", {"filter": "price < 5"}))["version"] == 2


@pytest.mark.parametrize(
    "row", [b"", b"{}", b"[]", b"\xff", b'{"name":"a","version":0,"published_ms":1,"scenario":{}}']
)
def test_a_row_that_is_no_scenario_is_a_value_error(row: bytes) -> None:
    with pytest.raises(ValueError, match="expected a scenario"):
        decode(row)
