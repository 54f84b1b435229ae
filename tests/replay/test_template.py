from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import SettingsError
from contracts.settings import ServiceSettings
from replay.engine.http_client import HttpClient
from replay.engine.options import PlayOptions, Questions
from replay.engine.pacer import FixedRate
from replay.engine.run import play_recording
from replay.engine.template import EVENT_NAMES, EventsTemplate, Request, pointed, read_template
from replay.engine.template_target import TemplateQuestions
from replay.measure.hit_rates import ALL
from replay.measure.live import UnreadableAnswer
from tests.replay.test_live import recording

OTHER = """
[events]
path = "/track/{session_id}"
accept = [200]
[events.body]
what = "{type}"
item = "{item_id}"
at = "{ts}"
who = "visitor {session_id}"
user = "{user_id}"

[recommendations]
method = "GET"
path = "/for?visitor={session_id}&n={limit}&near={item_id}"
items = "/found/*/id"
model = "/by"
"""


def template(folder: Path, text: str = OTHER, name: str = "other.toml") -> Path:
    (folder / name).write_text(text)
    return folder / name


async def test_any_recommender_can_be_played_into_and_asked(tmp_path: Path) -> None:
    tracked: list[tuple[str, dict[str, Any]]] = []
    asked: list[dict[str, str]] = []

    async def track(request: web.Request) -> web.Response:
        tracked.append((request.match_info["visitor"], orjson.loads(await request.read())))
        return web.Response(text="thanks")

    async def recommend(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return web.json_response({"found": [{"id": "z"}, {"id": "b c"}], "by": "knn"})

    app = web.Application()
    app.router.add_post("/track/{visitor}", track)
    app.router.add_get("/for", recommend)
    clicks = "1a 1b 1c"
    path = recording(tmp_path, clicks)
    async with TestServer(app) as server:
        options = PlayOptions(
            path,
            str(server.make_url("")),
            pace=FixedRate(50),
            run="r/1",
            questions=Questions(),
            template=template(tmp_path),
        )
        result = await play_recording(options, ServiceSettings())
    assert (result.accepted, result.lost, result.requests) == (3, 0, 3)
    assert [visitor for visitor, _ in tracked] == ["r/1-1"] * 3  # percent-encoded on the way
    assert [(one["what"], one["item"], one["who"], one["user"]) for _, one in tracked] == [
        ("view", item, "visitor r/1-1", None) for item in "abc"
    ]
    assert all(isinstance(one["at"], int) for _, one in tracked)
    assert asked == [{"visitor": "r/1-1", "n": "20", "near": item} for item in "ab"]
    assert result.answers is not None
    assert result.answers.models == {"knn": 2}
    assert result.hit_rates is not None
    assert result.hit_rates.tallies[ALL]["gateway"].cases == 2


async def test_a_status_that_is_not_accepted_counts_as_failed(tmp_path: Path) -> None:
    path = recording(tmp_path, "1a")

    async def taken(request: web.Request) -> web.Response:
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/track/{visitor}", taken)
    async with TestServer(app) as server:
        options = PlayOptions(path, str(server.make_url("")), pace=FixedRate(50), template=template(tmp_path))
        result = await play_recording(options, ServiceSettings())
    assert result.failed == {"status 202": 1}


@given(st.text(max_size=30), st.integers())
def test_a_body_is_json_whatever_the_values_are(text: str, number: int) -> None:
    body = {"whole": "{item_id}", "within": "<{item_id}> at {ts}", "number": "{ts}", "none": "{user_id}"}
    made = Request.of(EventsTemplate(path="/", body=body), EVENT_NAMES).body_of({"item_id": text, "ts": number % 2**53})
    assert orjson.loads(made) == {
        "whole": text,
        "within": f"<{text}> at {number % 2**53}",
        "number": number % 2**53,
        "none": None,
    }


def test_a_body_may_be_written_out_or_be_a_form() -> None:
    written = EventsTemplate(path="/", body='{"i": "{item_id}", "all": "{event}"}')
    assert (
        Request.of(written, EVENT_NAMES).body_of({"item_id": "a", "event": {"x": 1}}) == b'{"i": "a", "all": {"x":1}}'
    )
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    form = EventsTemplate(path="/", headers=headers, body="i={item_id}&t={ts}")
    assert Request.of(form, EVENT_NAMES).body_of({"item_id": "a b&c", "ts": 5}) == b"i=a%20b%26c&t=5"


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/a/*/id", ["x", "y"]),
        ("/a/1/id", ["y"]),
        ("/b~1c/d~0e", [7]),
        ("/missing/*", []),
        ("/a/9/id", []),
        ("", [{"a": [{"id": "x"}, {"id": "y"}], "b/c": {"d~e": 7}}]),
    ],
)
def test_pointers(pointer: str, found: list[Any]) -> None:
    assert pointed({"a": [{"id": "x"}, {"id": "y"}], "b/c": {"d~e": 7}}, pointer) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[events]\npath = "/x"\nbody = "{nobody}"', r"expected one of the placeholders .*event_id.*, got \{nobody\}"),
        ('[events]\npath = "x"', "events.path"),
        ('[events]\npath = "/x"\nwhat = 1', "events.what: Extra inputs"),
        ("", "expected .events., .recommendations. or both"),
        ("[events", "expected TOML or JSON"),
    ],
)
def test_a_mistake_in_a_template_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"other.toml: .*{said}"):
        read_template(template(tmp_path, text))


@pytest.mark.parametrize(
    ("answer", "items"),
    [
        ({"found": [{"id": "a"}, {"id": "b"}]}, ["a", "b"]),
        ({"found": []}, []),  # an empty list is an answer
        ({"hits": [{"id": "a"}]}, None),
        ({"found": [{"sku": "a"}]}, None),
        ({"found": None}, None),
    ],
)
async def test_items_that_are_not_where_the_template_points_are_an_error(
    answer: dict[str, Any], items: list[str] | None, tmp_path: Path
) -> None:
    text = '[recommendations]\npath = "/for?visitor={session_id}"\nitems = "/found/*/id"'
    async with HttpClient("http://127.0.0.1:1") as http:
        asking = TemplateQuestions(http, read_template(template(tmp_path, text)), placements={"*": "homepage"})
        if items is None:
            with pytest.raises(UnreadableAnswer, match=r"no items at /found/\*/id"):
                asking.read(orjson.dumps(answer))
        else:
            assert asking.read(orjson.dumps(answer)).items == items


async def test_questions_need_a_template_that_asks(tmp_path: Path) -> None:
    path, other = recording(tmp_path, "1a"), template(tmp_path, '{"events": {"path": "/x"}}', "other.json")
    with pytest.raises(SettingsError, match=r"no .recommendations."):
        await play_recording(PlayOptions(path, questions=Questions(), template=other), ServiceSettings())


def test_the_template_of_the_documentation_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "replay.md").read_text()
    text = page.partition("```toml\n")[2].partition("```")[0]
    found = read_template(template(tmp_path, text))
    assert found.events is not None
    assert found.recommendations is not None
    assert found.recommendations.items == "/found/*/id"
