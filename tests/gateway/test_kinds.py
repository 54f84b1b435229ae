"""A field takes the kinds of JSON that the document says it takes: of every request body, by the document itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import gateway.app  # noqa: F401 - loads the models of every body
from gateway.openapi import document
from tests.gateway.conftest import Client, problem

SCHEMAS: dict[str, Any] = document()["components"]["schemas"]
OF_KIND: dict[str, tuple[object, ...]] = {
    "number": (5, 1.5),
    "boolean": (True, False),
    "string": ("x", "true"),
    "array": ([],),
    "object": ({},),
}
"""Values of each kind. A number as a text, such as "9.5", is taken where a number may stand: shops' feeds write it."""


def referred(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rsplit("/", 1)[1]
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from referred(one)


def sent() -> set[str]:
    """Return the names of the schemas that request bodies are made of."""
    operations = [one for path in document()["paths"].values() for one in path.values() if isinstance(one, dict)]
    found, waiting = set(), list(referred([one.get("requestBody") for one in operations]))
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += referred(SCHEMAS[name])
    return found


def models(base: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    for one in base.__subclasses__():
        yield one
        yield from models(one)


SENT = sorted((one for one in set(models()) if one.__name__ in sent()), key=lambda model: model.__name__)


def kinds(schema: dict[str, Any]) -> set[str]:
    """Return the kinds that a schema takes; none where it takes any."""
    if "$ref" in schema:
        return kinds(SCHEMAS[schema["$ref"].rsplit("/", 1)[1]])
    parts = [one for word in ("anyOf", "oneOf", "allOf") for one in schema.get(word, ())]
    said = {schema["type"].replace("integer", "number")} if "type" in schema else set()
    return said.union(*map(kinds, parts))


def wrong_values(schema: dict[str, Any]) -> Iterator[object]:
    """Yield values of every kind that a field does not take, alone and as what its list holds."""
    taken = kinds(schema)
    if taken:
        yield from (value for kind, values in OF_KIND.items() if kind not in taken for value in values)
    for part in (schema, *schema.get("anyOf", ())):
        if part.get("type") == "array":
            yield from ([value] for value in wrong_values(part["items"]))


def is_refused(model: type[BaseModel], field: str, value: object) -> bool:
    try:
        model.model_validate({field: value})
    except ValidationError as error:
        return any(found["loc"][:1] in {(field,), ()} for found in error.errors())
    return False


@pytest.mark.parametrize("model", SENT, ids=lambda model: model.__name__)
def test_a_value_of_another_kind_than_the_document_says_is_refused(model: type[BaseModel]) -> None:
    fields = SCHEMAS[model.__name__].get("properties", {})
    taken = [(name, value) for name, schema in fields.items() for value in wrong_values(schema)]
    assert [(name, value) for name, value in taken if not is_refused(model, name, value)] == []


def test_every_body_is_looked_at() -> None:
    assert {"Item", "StockUpdate", "RecommendationRequest", "PickedItem", "CapAsked", "UserDocument", "Consent"} <= {
        model.__name__ for model in SENT
    }


QUERIES = {
    "/api/live": ("since_ms",),
    "/api/dead-letters": ("partition", "since_ms", "until_ms", "limit"),
    "/api/items": ("limit",),
}


@pytest.mark.parametrize("number", ["1.0", "1_0", "+1", " 1", "1e1", "true", "", "0x1"])
@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in QUERIES.items() for name in names])
async def test_a_number_of_a_query_is_digits(client: Client, path: str, name: str, number: str) -> None:
    answer = await client.get(path, params={name: number})
    assert (await problem(answer, 422))["detail"].startswith(f"/{name}: ")


def test_every_number_of_a_query_is_looked_at() -> None:
    paths = document()["paths"]
    found = {
        path: tuple(
            one["name"] for one in paths[path]["get"].get("parameters", ()) if one["in"] == "query" and is_whole(one)
        )
        for path in paths
        if "get" in paths[path]
    }
    assert {path: names for path, names in found.items() if names} == QUERIES


def is_whole(parameter: dict[str, Any]) -> bool:
    return kinds(parameter["schema"]) == {"number"}
