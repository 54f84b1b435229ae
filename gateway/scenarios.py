"""The published scenarios of this process: followed, compiled when first asked for, found by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
from pydantic import ValidationError

from contracts.formats import expect_mark, marked
from contracts.ids import item_key
from contracts.scenarios import Scenario, ScenarioVersion, document_of, placement_of
from rerank.scenarios.compiled import Compiled, ScenarioError, compile_scenario
from rerank.scenarios.problems import checked

UNKNOWN: Final = None


class Scenarios:
    """Newest versions by name. A row that does not decode raises, and is left out by whoever follows the table."""

    def __init__(self) -> None:
        self._versions: dict[int, ScenarioVersion] = {}
        self._compiled: dict[str, Compiled] = {}
        self._stands_on: dict[str, frozenset[str]] = {}
        """Of each that is compiled: its own name, and every name that was looked for as a base."""
        self.changes = 0
        """Grows with everything that is published or taken away."""

    def __len__(self) -> int:
        return len(self._versions)

    def apply(self, rows: Sequence[tuple[int, bytes | None]]) -> None:
        """Take rows of the table: all of them, or none. Raises ValueError."""
        decoded = [(key, None if row is None else decode(row)) for key, row in rows]
        for key, version in decoded:
            if version is not None and item_key(version.name) != key:
                raise ValueError(f"the row {key:016x} holds the scenario {version.name!r}, which has another key")
        changed: set[str] = set()
        for key, version in decoded:
            gone = self._versions.pop(key, None)
            changed.update(one.name for one in (gone, version) if one is not None)
            if version is not None:
                self._versions[key] = version
        self.changes += 1
        for name in [name for name, stands_on in self._stands_on.items() if not stands_on.isdisjoint(changed)]:
            del self._compiled[name], self._stands_on[name]

    def held(self) -> Iterable[int]:
        """Return the row keys that are here."""
        return list(self._versions)

    def all(self) -> list[ScenarioVersion]:
        """Return the newest versions, by name."""
        return sorted(self._versions.values(), key=lambda version: version.name)

    def get(self, name: str) -> ScenarioVersion | None:
        """Return the newest version of a name; None where nothing is published under it."""
        return self._versions.get(item_key(name))

    def find(self, name: str) -> Compiled | None:
        """Return what is published under a name, compiled; None where nothing is. Raises ScenarioError where it cannot
        be applied any more: its base is gone.
        """
        found = self._compiled.get(name)
        if found is None and (version := self.get(name)) is not None:
            stands_on = {name}

            def base_of(base: str) -> Scenario | None:
                stands_on.add(base)
                return self._scenario(base)

            found = self._compiled[name] = compile_scenario(name, version.version, version.scenario, base_of)
            self._stands_on[name] = frozenset(stands_on)
        return found

    def compile(self, name: str, version: int, scenario: Scenario) -> Compiled:
        """Compile a scenario over the bases that are here. Raises ScenarioError."""
        return compile_scenario(name, version, scenario, self._scenario)

    def checked(self, document: Mapping[str, Any], name: str) -> tuple[Scenario, Compiled]:
        """Return a document as a scenario, and compiled over the bases that are here. Raises ScenarioProblems."""
        return checked(document, name, self._scenario)

    def expect_no_dependents(self, name: str) -> None:
        """Raise ScenarioError where others stand on a scenario that is to be deleted."""
        standing = [one.name for one in self.all() if one.scenario.base == name and one.name != name]
        if standing and placement_of(name) is None:
            raise ScenarioError("", f"{', '.join(standing[:5])} stand on {name!r}: give them another base first")

    def _scenario(self, name: str) -> Scenario | None:
        version = self.get(name)
        return None if version is None else version.scenario


def encode(version: ScenarioVersion) -> bytes:
    """Encode a version as the table keeps it."""
    fields = version.model_dump(mode="json", exclude={"scenario"})
    return orjson.dumps(marked("scenario", {**fields, "scenario": document_of(version.scenario)}))


def decode(row: bytes) -> ScenarioVersion:
    """Decode what `encode` made; fields that a newer release added are passed by. Raises ValueError, NewerFormat."""
    try:
        document = orjson.loads(row)
        expect_mark("scenario", document)
        return ScenarioVersion.model_validate(document, extra="ignore")
    except (orjson.JSONDecodeError, ValidationError, RecursionError) as error:
        raise ValueError(f"expected a scenario, got {row[:60]!r}: {error}") from error
