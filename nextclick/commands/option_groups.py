"""Options that several commands share, declared once: a command takes them as one record, people type each by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Any, get_type_hints


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command for typer that has the fields of its records as options, in place of the records.

    A record is a parameter whose type is a dataclass: what annotates a field (`Annotated[..., typer.Option(...)]`), its
    name and its default are the option's. Raises ValueError for a name that is used twice.
    """
    hints = get_type_hints(command, include_extras=True)
    records = {name: hints[name] for name in signature(command).parameters if is_dataclass(hints[name])}
    typed = list(_typed(command, hints))
    twice = {one.name for one in typed if [other.name for other in typed].count(one.name) > 1}
    if twice:
        raise ValueError(f"{command.__name__}: expected every option once, got {', '.join(sorted(twice))} twice")

    @wraps(command)
    def run(**given: Any) -> None:
        for name, record in records.items():
            given[name] = record(**{field.name: given.pop(field.name) for field in fields(record)})
        command(**given)

    run.__signature__ = signature(command).replace(parameters=typed)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in typed}
    return run


def _typed(command: Callable[..., None], hints: dict[str, Any]) -> Iterator[Parameter]:
    for parameter in signature(command).parameters.values():
        kind = hints[parameter.name]
        if not is_dataclass(kind):
            yield parameter.replace(annotation=kind, kind=Parameter.KEYWORD_ONLY)
            continue
        declared = get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            default = _default(field)
            yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=declared[field.name])


def _default(field: Field[Any]) -> Any:
    return Parameter.empty if field.default is MISSING else field.default
