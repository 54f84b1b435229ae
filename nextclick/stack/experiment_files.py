"""Experiment documents as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contracts.errors import ImportFormatError
from contracts.experiments import Experiment, experiment_document
from contracts.pointers import MAX_FIELDS, in_document, pointer
from contracts.unknown_fields import told
from nextclick.stack.scenario_files import read_document


def read_experiment(path: Path) -> dict[str, Any]:
    """Return the document of a file. Raises ImportFormatError for one that is no experiment: where, expected, got."""
    try:
        return experiment_document(Experiment.model_validate(read_document(path)))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_FIELDS]
        lines = [f"{path}: {pointer(in_document(one['loc']))}: {told(one, Experiment)}" for one in found]
        raise ImportFormatError("\n".join(lines)) from error
