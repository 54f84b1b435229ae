"""Scenario documents as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from contracts.errors import ImportFormatError
from contracts.scenarios import Scenario, document_of
from rerank.scenarios.compiled import ScenarioError, compile_scenario


def read_scenario(path: Path) -> dict[str, Any]:
    """Return the document of a file. Raises ImportFormatError for one that is no scenario: where, expected, got."""
    try:
        document = orjson.loads(path.read_bytes())
        scenario = Scenario.model_validate(document)
    except orjson.JSONDecodeError as error:
        raise ImportFormatError(f"{path}: expected JSON, got {error}") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = "/".join(map(str, problem["loc"]))
        raise ImportFormatError(f"{path}: /{where}: {problem['msg']}") from error
    return document_of(scenario)


def check_scenario(path: Path, name: str, bases: dict[str, Scenario]) -> Scenario:
    """Return the scenario of a file once its expressions compile over the bases. Raises ImportFormatError."""
    scenario = Scenario.model_validate(read_scenario(path))
    try:
        compile_scenario(name, 0, scenario, bases.get)
    except ScenarioError as error:
        raise ImportFormatError(f"{path}: {error}") from error
    return scenario
