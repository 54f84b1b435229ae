"""The inventory of what is held of a visitor: nothing that could hold something is missing."""

from __future__ import annotations

from inspect import getmembers, isfunction

from contracts.keys import Keys
from eventlog.contract import Topic
from rights.places import OF_NOBODY, PLACES, Erased, Kind, exported, places_of


def families() -> set[str]:
    return {name for name, _ in getmembers(Keys, isfunction) if not name.startswith("_")}


def test_every_key_family_is_in_the_inventory_or_holds_nothing_of_a_visitor() -> None:
    told = {place.name for place in places_of(Kind.REDIS)}
    assert families() - told - OF_NOBODY.keys() == set()
    assert told - families() == set(), "an inventory of keys that there are not"
    assert told & OF_NOBODY.keys() == set()
    assert OF_NOBODY.keys() - families() == {Topic.ITEMS.value}


def test_every_topic_is_in_the_inventory_or_holds_nothing_of_a_visitor() -> None:
    told = {place.name for place in places_of(Kind.LOG)}
    assert {topic.value for topic in Topic} - told - OF_NOBODY.keys() == set()
    assert told == {"clicks", "impressions"}


def test_a_place_is_told_once() -> None:
    names = [(place.kind, place.name) for place in PLACES]
    assert len(set(names)) == len(names)


def test_what_is_exported_is_what_names_the_visitor_and_is_erased() -> None:
    assert {place.name for place in exported()} == {
        *("session", "exposures", "sent", "user", "profile", "session_owner", "dead_letters", "quality_bots"),
        *("attribution_unit", "experiment_units", "table_rows", "clicks", "impressions", "mailed", "waits"),
        *("recordings", "answers", "ledger", "campaigns"),
    }
    assert all(place.erased in (Erased.DELETED, Erased.REWRITTEN) for place in exported())
