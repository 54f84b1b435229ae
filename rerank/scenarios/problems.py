"""Everything that is wrong with a scenario's document, found at once: schema, dates, expressions, bases, fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from contracts.errors import NextclickError
from contracts.pointers import MAX_FIELDS, in_document, pointer
from contracts.scenarios import MAX_EXPRESSION, MAX_EXPRESSIONS, Scenario
from contracts.unknown_fields import not_of_items, told
from rerank.scenarios.compiled import Compiled, ScenarioError, compile_condition, compile_scenario

BaseOf = Callable[[str], Scenario | None]
_MOST_BOOSTS: Final = 100


class ScenarioProblems(NextclickError):
    """A document that cannot be published, and everything that is wrong with it, MAX_FIELDS places at most."""

    def __init__(self, problems: Sequence[ScenarioError]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def checked(document: Mapping[str, Any], name: str, base_of: BaseOf) -> tuple[Scenario, Compiled]:
    """Return a document as a scenario, and compiled under a name. Raises ScenarioProblems."""
    try:
        scenario = Scenario.model_validate(document)
        if not not_of_items(scenario.fields or ()):
            return scenario, compile_scenario(name, 0, scenario, base_of)
    except (ValidationError, ScenarioError):
        pass
    raise ScenarioProblems(problems_of(document, name, base_of))


def problems_of(document: Mapping[str, Any], name: str, base_of: BaseOf) -> list[ScenarioError]:
    """Return what is wrong with a document, the schema's part first; MAX_FIELDS problems at most."""
    found = schema_problems(document)[:MAX_FIELDS]
    wrong = {one.pointer.split("/")[1] for one in found if one.pointer}
    expressions = [] if any(not one.pointer for one in found) else list(_of_expressions(document))
    found += expressions
    wrong |= {one.pointer.split("/")[1] for one in expressions}
    found += _of_whole({name: value for name, value in document.items() if name not in wrong}, name, base_of)
    return found[:MAX_FIELDS]


def schema_problems(document: Mapping[str, Any]) -> list[ScenarioError]:
    """Return what is wrong with the names, types and dates of a document, and with the fields that it asks for."""
    found = list(_of_fields(document))
    try:
        Scenario.model_validate(document)
    except ValidationError as error:
        said = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_FIELDS]
        found = [ScenarioError(pointer(in_document(one["loc"])), told(one, Scenario)) for one in said] + found
    return found


def _of_expressions(document: Mapping[str, Any]) -> Iterator[ScenarioError]:
    """Yield the first problem of each expression; those that are no texts, or too long, are the schema's to refuse."""
    texts = {"/filter": document.get("filter")}
    boosts = document.get("boosts")
    for at, boost in enumerate(boosts[:_MOST_BOOSTS] if isinstance(boosts, list) else ()):
        texts[f"/boosts/{at}/if"] = boost.get("if") if isinstance(boost, dict) else None
    room = MAX_EXPRESSIONS
    for where, text in texts.items():
        if not isinstance(text, str) or not 1 <= len(text) <= min(room, MAX_EXPRESSION):
            continue
        room -= len(text)
        try:
            compile_condition(where, text)
        except ScenarioError as error:
            yield error


def _of_fields(document: Mapping[str, Any]) -> Iterator[ScenarioError]:
    fields = document.get("fields")
    texts = [one if isinstance(one, str) else "title" for one in fields[:50]] if isinstance(fields, list) else []
    for at, detail in not_of_items(texts):
        if texts[at]:  # an empty name is the schema's to refuse
            yield ScenarioError(f"/fields/{at}", detail)


def _of_whole(document: Mapping[str, Any], name: str, base_of: BaseOf) -> list[ScenarioError]:
    """Return what is wrong with the parts that are right each by itself: their sum, and what they stand on."""
    try:
        scenario = Scenario.model_validate(document)
    except ValidationError:
        return []  # told with the schema's
    try:
        compile_scenario(name, 0, scenario, base_of)
    except ScenarioError as error:
        further = {} if error.pointer != "/base" else {one: value for one, value in document.items() if one != "base"}
        return [error, *_of_whole(further, name, base_of)] if further else [error]
    return []
