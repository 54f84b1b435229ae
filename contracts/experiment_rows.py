"""Experiments as rows of the scenarios' table: their keys, and the bytes that gateways and the judge read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import ValidationError

from contracts.assignment import buckets_of
from contracts.experiments import ExperimentVersion, experiment_document
from contracts.formats import expect_mark, marked
from contracts.ids import item_key
from contracts.scenarios import document_of

_FIRST: Final = b'{"experiment":'


def document_name(name: str) -> str:
    """Return the name of an experiment in the table: no scenario can have it."""
    return f"experiment/{name}"


def row_key_of(name: str) -> int:
    return item_key(document_name(name))


def is_experiment(row: bytes) -> bool:
    """Say whether a row of the table is an experiment's; others are scenarios'."""
    return row.startswith(_FIRST)


def encode(version: ExperimentVersion) -> bytes:
    """Encode a version as the table keeps it."""
    fields: Mapping[str, Any] = version.model_dump(mode="json", exclude={"experiment", "pinned"})
    pinned = {name: document_of(scenario) for name, scenario in version.pinned.items()}
    document = {"experiment": experiment_document(version.experiment), **fields, "pinned": pinned}
    return orjson.dumps(marked("experiment", document))


def decode(key: int, row: bytes) -> ExperimentVersion:
    """Decode what `encode` made; fields that a newer release added are passed by. Its segment is not looked at. Raises
    ValueError, NewerFormat.
    """
    try:
        document = orjson.loads(row)
        expect_mark("experiment", document)
        version = ExperimentVersion.model_validate(document, extra="ignore")
        for mask in version.buckets.values():
            buckets_of(mask)
    except (orjson.JSONDecodeError, ValidationError, RecursionError) as error:
        raise ValueError(f"expected an experiment, got {row[:60]!r}: {error}") from error
    if row_key_of(version.name) != key:
        raise ValueError(f"the row {key:016x} holds the experiment {version.name!r}, which has another key")
    return version
