"""Scenario documents as files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from contracts.errors import ImportFormatError, SettingsError
from contracts.given_once import given_twice, twice
from contracts.pointers import MAX_FIELDS, pointer
from contracts.scenarios import NAME_PATTERN, Scenario, document_of, placement_of
from nextclick.stack.client import Client
from nextclick.stack.settings import gateway_url
from rerank.scenarios.compiled import Compiled, ScenarioError, compile_scenario, plain
from rerank.scenarios.problems import ScenarioProblems, checked, schema_problems

_ATTRIBUTES: Final = "attributes."


def read_scenario(path: Path) -> dict[str, Any]:
    """Return the document of a file. Raises ImportFormatError for one that is no scenario: where, expected, got."""
    document = read_document(path)
    _expect_right(path, schema_problems(document))
    return document_of(Scenario.model_validate(document))


def check_scenario(path: Path, name: str, bases: dict[str, Scenario]) -> tuple[Scenario, Compiled]:
    """Return the scenario of a file, and compiled over the bases. Raises ImportFormatError: a line for each problem."""
    document = read_document(path)
    try:
        return checked(document, name, bases.get)
    except ScenarioProblems as error:
        _expect_right(path, error.problems)
        raise


def read_document(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file. Raises ImportFormatError for another thing, or a name that it gives twice."""
    raw = path.read_bytes()
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ImportFormatError(f"{path}: expected JSON, got {error}") from error
    if not isinstance(document, dict):
        raise ImportFormatError(f"{path}: expected a JSON object, got {type(document).__name__}")
    _expect_right(path, [ScenarioError(pointer(place), twice(place)) for place in given_twice(raw, document)])
    return document


def _expect_right(path: Path, problems: Sequence[ScenarioError]) -> None:
    if problems:
        raise ImportFormatError("\n".join(f"{path}: {one}" for one in problems[:MAX_FIELDS]))


def attributes_read(scenario: Compiled) -> list[str]:
    """Return the attributes (`attributes.x`) that a scenario's conditions read, and that its `fields` ask for."""
    named = [*sorted(scenario.names), *(scenario.scenario.fields or ())]
    return list(dict.fromkeys(name for name in named if name.startswith(_ATTRIBUTES)))


def has_attribute(name: str) -> str:
    """Return the condition that finds items with an attribute."""
    rest = name.removeprefix(_ATTRIBUTES)
    plain = all(re.fullmatch(r"[A-Za-z_][\w-]*", part) for part in rest.split("."))
    return f"has({name})" if plain else f"has(attributes[{json.dumps(rest, ensure_ascii=False)}])"


def find_scenario(named: str, url: str | None, bases: dict[str, Scenario] | None) -> Compiled:
    """Return the scenario of a file, or of a name: a placement as it is from the start, or what is published.

    A gateway (`url`) is only asked for what a name or a base needs of it. `bases`: what was published, where that is
    known. Raises ImportFormatError for a file that is no scenario, SettingsError for a name that there is not.
    """
    path = Path(named)
    if path.is_file():
        scenario = Scenario.model_validate(read_scenario(path))
        return _compiled(path.stem, scenario, url, bases, where=str(path))
    placement = placement_of(named)
    if placement is not None and not url:
        return plain(placement)
    if not re.fullmatch(NAME_PATTERN, named):
        raise SettingsError(f"{named}: expected a file of a scenario, or the name of one, and found no such file")
    published = published_scenarios(url) if bases is None else bases
    if named not in published:
        if placement is not None:
            return plain(placement)
        raise SettingsError(f"{named}: expected a file, a placement or a published scenario, and found none")
    return _compiled(named, published[named], url, published, where=named)


def published_scenarios(url: str | None) -> dict[str, Scenario]:
    """Return what a gateway has published, by name."""
    with Client(gateway_url(url)) as client:
        found = client.scenarios()
    return {one["name"]: Scenario.model_validate(one["scenario"]) for one in found if one["version"]}


def _compiled(
    name: str, scenario: Scenario, url: str | None, bases: dict[str, Scenario] | None, *, where: str
) -> Compiled:
    """Compile; asks the gateway for its scenarios only where a base is none of the placements."""
    if bases is None:
        needs = scenario.base is not None and (bool(url) or placement_of(scenario.base) is None)
        bases = published_scenarios(url) if needs else {}
    try:
        return compile_scenario(name, 0, scenario, bases.get)
    except ScenarioError as error:
        raise ImportFormatError(f"{where}: {error}") from error
