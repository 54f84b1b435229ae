"""Who asks, as the ranker's features read it: what the request says, then what is known of the user."""

from __future__ import annotations

from contracts.api import Placement
from contracts.plain_requests import PlainRequest
from gateway.question import NOBODY, Prepared, Question, Visitor, query_of
from gateway.sessions import Known
from gateway.users import NO_TASTE, Document, KnownUser
from rerank.query import Query
from rerank.scenarios.compiled import NO_FILTER, plain
from retrieval.groups import NO_GROUP, device_group, region_group


def asked(context: object = None, visitor: Visitor = NOBODY, user: KnownUser | None = None) -> Query:
    scenario = plain(Placement.HOMEPAGE)
    question = Question(PlainRequest("s", context=context), visitor, (), None, lambda: scenario, NO_FILTER)
    prepared = Prepared(question, Known(None), 0, 0.0, scenario, user=user or KnownUser())
    return query_of(prepared, None, NO_TASTE)


def test_a_request_says_its_device_and_its_region() -> None:
    query = asked({"device": "Phone", "region": "eu"}, Visitor(region="eu"))
    assert (query.device_group, query.region_group) == (device_group("phone"), region_group("eu"))
    assert {query.device_group, query.region_group} == set(query.groups)


def test_a_users_document_says_the_region_that_the_request_does_not() -> None:
    query = asked({"device": 7}, user=KnownUser(Document({}, None, None, "eu")))
    assert (query.device_group, query.region_group) == (NO_GROUP, region_group("eu"))


def test_of_nobody_nothing_is_known() -> None:
    query = asked()
    assert (query.device_group, query.region_group, query.groups) == (NO_GROUP, NO_GROUP, ())
