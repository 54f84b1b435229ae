"""A shop's first day: its own items, no trained model, one visitor, one click."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from tests.gateway.conftest import Client, event
from tests.gateway.streams import Streams
from tests.gateway.test_items import NDJSON
from tests.gateway.test_recommendations import ask, ids

NOUNS = {
    "en": (
        ("outdoor/footwear", ("hiking boot", "trekking shoe", "mountain boot", "winter boot")),
        ("outdoor/hiking", ("hiking socks", "trekking poles", "trail backpack", "hiking trousers")),
        ("kitchen/coffee", ("espresso machine", "coffee grinder", "milk jug", "coffee cup")),
        ("home/lamps", ("desk lamp", "floor lamp", "reading light", "ceiling lamp")),
        ("toys/games", ("board game", "jigsaw puzzle", "wooden train", "teddy bear")),
        ("office/paper", ("notebook", "printer paper", "envelope", "ballpoint pen")),
    ),
    "de": (
        ("schuhe/wandern", ("Wanderstiefel", "Wanderschuh", "Bergstiefel", "Winterstiefel")),
        ("wandern/zubehör", ("Wandersocken", "Wanderstock", "Wanderrucksack", "Wanderhose")),
        ("küche/kaffee", ("Kaffeemaschine", "Kaffeemühle", "Milchkanne", "Kaffeetasse")),
        ("wohnen/lampen", ("Tischlampe", "Stehlampe", "Leselampe", "Deckenlampe")),
        ("spielzeug/spiele", ("Brettspiel", "Puzzle", "Holzeisenbahn", "Teddybär")),
        ("büro/papier", ("Notizbuch", "Druckerpapier", "Briefumschlag", "Kugelschreiber")),
    ),
    "pl": (
        ("buty/trekking", ("buty trekkingowe", "buty górskie", "buty zimowe", "botki skórzane")),
        ("turystyka/akcesoria", ("skarpety trekkingowe", "kijki trekkingowe", "plecak górski", "spodnie trekkingowe")),
        ("kuchnia/kawa", ("ekspres do kawy", "młynek do kawy", "dzbanek na mleko", "filiżanka do kawy")),
        ("dom/lampy", ("lampa biurkowa", "lampa stojąca", "lampka do czytania", "lampa sufitowa")),
        ("zabawki/gry", ("gra planszowa", "puzzle drewniane", "pociąg drewniany", "pluszowy miś")),
        ("biuro/papier", ("notes", "papier do drukarki", "koperta", "długopis")),
    ),
}
MORE = ("Alba", "Brio", "Cima", "Duro", "Esto", "Fino", "Gala", "Halo", "Iris", "Jolo", "Kano", "Lumo", "Mira")


def shop(language: str) -> list[dict[str, object]]:
    """Return 312 items of six kinds; those of the first two go with a boot."""
    return [
        {"item_id": f"{kind}-{noun}-{at}", "title": f"{name} {more}", "category": path, "price": 10.0 + at}
        for kind, (path, names) in enumerate(NOUNS[language])
        for noun, name in enumerate(names)
        for at, more in enumerate(MORE)
    ]


def share_of(answer: Sequence[str], kinds: str) -> float:
    return sum(item_id[0] in kinds for item_id in answer) / len(answer)


@pytest.mark.parametrize(("language", "at_least"), [("en", 0.9), ("de", 0.9), ("pl", 0.9)])
async def test_after_one_view_of_a_boot_the_list_holds_boots_and_hiking_things(
    client: Client, streams: Streams, language: str, at_least: float
) -> None:
    items = shop(language)
    loaded = await client.post("/api/items", data=b"\n".join(map(orjson.dumps, items)), headers=NDJSON)
    assert (await loaded.json())["visible"] is True
    clicked = await client.post("/api/events", json=event("e-1", "s-1", "0-0-0"))
    assert clicked.status == 202
    answer = await ask(client, "s-1", limit=20, after=(await clicked.json())["token"])
    assert answer["degraded"] == ["general_model"]
    assert answer["session"]["events"] == 1
    assert len(ids(answer)) == 20
    assert share_of(ids(answer), "0") >= 0.4
    assert share_of(ids(answer), "01") >= at_least, [one["reason"] for one in answer["recommendations"]]


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        ({"quiz": {"tags": ["hiking"]}}, "01"),
        ({"style_tags": ["coffee"]}, "2"),
        ({"wishlist": ["3-0-0", "3-1-1"]}, "3"),
        ({"quiz": {"items": ["4-0-0"], "tags": ["toys"]}}, "4"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
async def test_what_a_user_said_leads_before_their_first_click(
    client: Client, streams: Streams, said: dict[str, object], kinds: str
) -> None:
    loaded = await client.post("/api/items", data=b"\n".join(map(orjson.dumps, shop("en"))), headers=NDJSON)
    assert (await loaded.json())["visible"] is True
    assert (await client.put("/api/users/anna", json=said)).status == 200
    answer = await ask(client, "s-1", limit=10, user_id="anna")
    assert answer["profile"] == {"clicks": 0, "age_ms": None, "said": True}
    assert share_of(ids(answer)[:5], kinds) == 1.0  # one category takes half of a page at most
    other = await ask(client, "s-1", limit=10, user_id="ben")
    assert other["profile"] is None
    assert share_of(ids(other)[:5], kinds) < 1.0


async def test_a_document_that_says_nothing_known_changes_nothing(client: Client, streams: Streams) -> None:
    loaded = await client.post("/api/items", data=b"\n".join(map(orjson.dumps, shop("en"))), headers=NDJSON)
    assert (await loaded.json())["visible"] is True
    assert (await client.put("/api/users/anna", json={"style_tags": ["!"], "wishlist": ["gone"]})).status == 200
    assert ids(await ask(client, "s-1", user_id="anna")) == ids(await ask(client, "s-1"))


@pytest.mark.parametrize("language", ["en", "de", "pl"])
async def test_letters_without_sense_and_items_there_are_not_are_no_taste(
    client: Client, streams: Streams, language: str
) -> None:
    loaded = await client.post("/api/items", data=b"\n".join(map(orjson.dumps, shop(language))), headers=NDJSON)
    assert (await loaded.json())["visible"] is True
    quiz = {"quiz": {"items": ["gone"], "tags": ["xqzzt blorfnag", "qwrtpsd"]}}
    answer = await client.put("/api/users/anna", json=quiz)
    assert await answer.json() == {
        "visible": True,
        "unknown": {"items": ["gone"], "tags": ["xqzzt blorfnag", "qwrtpsd"]},
    }
    found, nobody = await ask(client, "s-1", user_id="anna"), await ask(client, "s-1")
    assert (found["profile"], found["cold_start"]) == (None, nobody["cold_start"])
    assert ids(found) == ids(nobody)
    word = {"en": "lamps", "de": "tischlampe", "pl": "lampka"}[language]
    answer = await client.patch("/api/users/anna", json={"style_tags": [word]})
    assert (await answer.json())["unknown"] == {"items": ["gone"], "tags": ["xqzzt blorfnag", "qwrtpsd"]}
    found = await ask(client, "s-1", user_id="anna")
    assert (found["profile"], found["cold_start"]) == ({"clicks": 0, "age_ms": None, "said": True}, "said")
    assert share_of(ids(found)[:5], "3") == 1.0
