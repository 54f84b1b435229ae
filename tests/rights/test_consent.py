"""Whether a visitor consents."""

from __future__ import annotations

import pytest

from rights.consent import DNT, GPC, Rules, is_given, is_signalled, may_be_kept, refuses, with_consent

OPEN, ASKING = Rules(), Rules(required=True)


@pytest.mark.parametrize(
    ("said", "rules", "given"),
    [
        (None, OPEN, True),
        (True, OPEN, True),
        (False, OPEN, False),
        (None, ASKING, False),
        (True, ASKING, True),
        (False, ASKING, False),
    ],
)
def test_who_says_nothing_has_consented_unless_consent_is_required(
    said: bool | None, rules: Rules, given: bool
) -> None:
    assert is_given(said, rules) is given


def test_a_header_counts_only_where_the_rules_name_it() -> None:
    assert is_signalled({GPC: "1"}, Rules(signals=(GPC,)))
    assert is_signalled({GPC: " 1 "}, Rules(signals=(GPC,)))
    assert not is_signalled({GPC: "1"}, Rules(signals=(DNT,)))
    assert not is_signalled({GPC: "0", DNT: "0"}, Rules(signals=(GPC, DNT)))
    assert not is_signalled({}, Rules(signals=(GPC, DNT)))


@pytest.mark.parametrize(
    ("document", "kept"),
    [
        ({"v": 2}, True),
        ({"consent": None}, True),
        ({"consent": True}, True),
        ({"consent": False}, False),
        ({"consent": "no"}, False),
        ({"consent": 1}, False),
        (["not", "an", "object"], True),
    ],
)
def test_what_cannot_be_read_is_kept_unless_its_consent_cannot_be_read_either(document: object, kept: bool) -> None:
    assert may_be_kept(document, OPEN) is kept


def test_where_consent_is_required_nothing_unreadable_is_kept_without_it() -> None:
    assert not may_be_kept({"v": 2}, ASKING)
    assert not may_be_kept("text", ASKING)
    assert may_be_kept({"v": 2, "consent": True}, ASKING)


def test_only_a_no_to_personalisation_refuses_it() -> None:
    assert refuses({"consent": {"personalisation": False, "marketing": True}})
    assert not refuses({"consent": {"personalisation": True, "marketing": False}})
    assert not refuses({"consent": {"marketing": False}})
    assert not refuses({"consent": "no"})
    assert not refuses({})


def test_what_is_not_said_again_stays() -> None:
    first = with_consent({"age": 30}, {"marketing": True}, 1000)
    assert first == {"age": 30, "consent": {"marketing": True, "at_ms": 1000}}
    second = with_consent(first, {"personalisation": False}, 2000)
    assert second["consent"] == {"marketing": True, "personalisation": False, "at_ms": 2000}
    assert with_consent(None, {"personalisation": True}, 3) == {"consent": {"personalisation": True, "at_ms": 3}}
