"""Scenario documents as files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from contracts.errors import ImportFormatError, SettingsError
from contracts.scenarios import NAME_PATTERN, Scenario, document_of, placement_of
from contracts.unknown_fields import told
from expressions.parse import compared_with
from nextclick.stack.client import Client
from nextclick.stack.settings import gateway_url
from rerank.scenarios.compiled import Compiled, ScenarioError, compile_scenario, plain


def read_scenario(path: Path) -> dict[str, Any]:
    """Return the document of a file. Raises ImportFormatError for one that is no scenario: where, expected, got."""
    try:
        document = orjson.loads(path.read_bytes())
        scenario = Scenario.model_validate(document)
    except orjson.JSONDecodeError as error:
        raise ImportFormatError(f"{path}: expected JSON, got {error}") from error
    except ValidationError as error:
        found = error.errors(include_url=False)
        problem = next((one for one in found if one["type"] == "extra_forbidden"), found[0])  # the cause of others
        where = "/".join(map(str, problem["loc"]))
        raise ImportFormatError(f"{path}: /{where}: {told(problem, Scenario)}") from error
    return document_of(scenario)


def check_scenario(path: Path, name: str, bases: dict[str, Scenario]) -> Scenario:
    """Return the scenario of a file once its expressions compile over the bases. Raises ImportFormatError."""
    scenario = Scenario.model_validate(read_scenario(path))
    try:
        compile_scenario(name, 0, scenario, bases.get)
    except ScenarioError as error:
        raise ImportFormatError(f"{path}: {error}") from error
    return scenario


def items_named(scenario: Scenario) -> list[str]:
    """Return the ids of the items that a scenario pins or buries, or that an expression compares `item_id` with."""
    expressions = [text for text in (scenario.filter, *(boost.if_ for boost in scenario.boosts or ())) if text]
    return list(
        dict.fromkeys(
            (
                *(pin.item_id for pin in scenario.pins or ()),
                *(scenario.bury or ()),
                *(item_id for text in expressions for item_id in compared_with(text, "item_id")),
            )
        )
    )


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
