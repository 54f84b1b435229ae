"""docs/privacy.md says of every kind of data where it is kept, and how long."""

from __future__ import annotations

import re
from inspect import getmembers, isfunction
from pathlib import Path

from pydantic import BaseModel

from contracts.keys import Keys
from gateway.settings import GatewaySettings
from rights.places import OF_NOBODY, Kind, places_of

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text()
KEPT = PAGE.partition("## What is kept")[2].partition("\n## ")[0]
ROWS = [line.split("|")[1:-1] for line in KEPT.splitlines() if line.startswith("| ")][1:]
ELSEWHERE = {"retention.ms"}
"""A broker's setting."""


def told(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", text))


def test_every_family_of_keys_is_told_with_how_long_it_is_kept() -> None:
    families = {name for name, _ in getmembers(Keys, isfunction) if not name.startswith("_")}
    assert families - told(KEPT) == set()


def test_what_holds_something_of_a_visitor_is_in_the_table_and_nothing_else_is() -> None:
    redis = {name for row in ROWS if "Redis" in row[1] for name in told(row[1])} - {"refusals", "ended"}
    assert redis == {place.name for place in places_of(Kind.REDIS)} | {"log"}
    listed = told(KEPT.rpartition("\n\n`retention.*`")[0].rpartition("other keys:")[2])
    assert listed - OF_NOBODY.keys() == set()


def test_every_setting_of_the_table_is_one() -> None:
    settings = {name for row in ROWS for name in re.findall(r"`([a-z_.]+)`", row[4])} - ELSEWHERE
    assert len(settings) > 10
    for name in settings:
        group, _, field = name.partition(".")
        kind = GatewaySettings.model_fields[group].annotation
        assert isinstance(kind, type)
        assert issubclass(kind, BaseModel)
        assert field in kind.model_fields, name
