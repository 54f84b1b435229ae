"""Open sessions: what events say of items, when sessions end, and which impressions were clicked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.codec import EndedSession
from contracts.events import INTEREST, Event, EventCode
from contracts.ids import event_key, item_key
from retrieval.ended_sessions import KEPT_CLICKS, slot_of
from retrieval.open_sessions import OpenSession, OpenSessions, TrendEvent
from retrieval.showings import Showings
from retrieval.trends import ClickOrigin, CountedClick, TrendRules, visitor_of

RULES = TrendRules()
GAP_MS = 1_800_000
T0 = 1_700_000_000_000
A, B, C = item_key("a"), item_key("b"), item_key("c")


def click(event: str, item: str, ts_ms: int = T0, code: EventCode = EventCode.VIEW) -> TrendEvent:
    return TrendEvent(event_key(event), ts_ms, (item_key(item),), item, code)


def shown(event: str, items: str, ts_ms: int = T0) -> TrendEvent:
    return TrendEvent(event_key(event), ts_ms, tuple(item_key(item) for item in items), None, EventCode.OTHER)


def take(session: OpenSession, *events: TrendEvent) -> list[CountedClick]:
    return [one for one in session.take(events, RULES, GAP_MS) if isinstance(one, CountedClick)]


def clicked_at(session: OpenSession, events: Sequence[TrendEvent]) -> list[int]:
    """Return when clicked impressions were counted, in milliseconds after T0, in order of time."""
    outputs = [output for event in events for output in session.take([event], RULES, GAP_MS)]
    return sorted(one.ts_ms - T0 for one in outputs if isinstance(one, Showings) and one.clicked)


def test_a_page_is_shown_as_a_whole_and_clicks_on_it_by_their_items() -> None:
    session = OpenSession()

    assert session.take([shown("i", "abc", T0)], RULES, GAP_MS) == [Showings(T0, (A, B, C))]
    assert session.take([click("1", "b", T0 + 5)], RULES, GAP_MS) == [
        CountedClick(T0 + 5, B, "b"),
        Showings(T0 + 5, (B,), clicked=True),
    ]


def test_an_impression_names_each_item_once_and_a_click_its_own() -> None:
    page = {"v": 1, "event_id": "e2", "type": "impression", "session_id": "s", "items": ["a", "b", "a"], "ts": T0}
    cart = {"v": 1, "event_id": "e1", "type": "cart", "session_id": "s", "item_id": "a", "ts": T0}

    assert TrendEvent.of(Event.model_validate(page)) == (event_key("e2"), T0, (A, B), None, EventCode.OTHER, ())
    assert TrendEvent.of(Event.model_validate(cart)) == (event_key("e1"), T0, (A,), "a", EventCode.CART, ())


def test_what_a_browser_says_was_in_view_is_no_second_showing() -> None:
    own = {"v": 1, "type": "impression", "session_id": "s", "request_id": "r", "items": ["a", "b"], "ts": T0}
    answer = Event.model_validate({**own, "event_id": "impression-r", "context": {"scenario": "homepage"}})
    seen = Event.model_validate({**own, "event_id": "e", "items": ["a"], "ts": T0 + 9, "context": {"seen": True}})
    of_the_site = Event.model_validate({**own, "event_id": "f", "request_id": None, "context": {"seen": True}})
    sessions = OpenSessions(RULES, GAP_MS)
    sessions.take(("s", TrendEvent.of(one)) for one in (seen, answer, seen, of_the_site))
    assert sessions.showings() == [Showings(T0, (A, B)), Showings(T0, (A, B))]
    assert sessions.read.page[0] == T0


def test_a_click_counts_for_its_item_and_pairs_with_what_the_session_clicked_before() -> None:
    session = OpenSession()

    assert take(session, click("1", "a")) == [CountedClick(T0, A, "a")]
    assert take(session, click("2", "b", T0 + 5, EventCode.CART)) == [
        CountedClick(T0 + 5, B, "b", EventCode.CART, ClickOrigin.FORWARD, earlier=(A,))
    ]
    assert take(session, click("3", "c", T0 + 9)) == [
        CountedClick(T0 + 9, C, "c", EventCode.VIEW, ClickOrigin.FORWARD, earlier=(B, A))
    ]


def test_a_repeated_event_counts_once() -> None:
    session = OpenSession()
    take(session, click("1", "a"), shown("i", "ab"))

    assert take(session, click("1", "a"), shown("i", "ab"), click("1", "a")) == []


@pytest.mark.parametrize("between", [1, 60, 120, 5000])
def test_a_click_that_comes_again_after_many_others_counts_once(between: int) -> None:
    session = OpenSession()
    take(session, click("1", "a"))
    for n in range(between):
        assert len(take(session, click(f"b{n}", "b", T0 + 1 + n))) == 1

    assert take(session, click("1", "a")) == []
    assert take(session, click(f"b{between - 1}", "b", T0 + between)) == []


def test_clicks_of_one_millisecond_all_count_once() -> None:
    session, many = OpenSession(), [click(str(n), "a") for n in range(400)]

    assert len(take(session, *many)) == 400
    assert take(session, *reversed(many)) == []


def test_what_a_session_keeps_is_bounded_however_many_clicks_carry_one_time() -> None:
    session = OpenSession()
    take(session, *(click(str(n), "a") for n in range(10_000)))

    assert (len(session.events), len(session.events.gone)) == (100, 4096)
    assert take(session, click("0", "a"), click("9999", "a")) == []


def test_a_page_that_comes_again_after_many_others_is_shown_once() -> None:
    session = OpenSession()
    pages = [shown(f"i{n}", "ab", T0 + n) for n in range(130)]
    assert len(session.take(pages, RULES, GAP_MS)) == 130

    assert session.take(pages, RULES, GAP_MS) == []


def test_clicks_and_pages_do_not_push_each_other_out() -> None:
    """They are topics of their own, and either may be far ahead: it must make no difference."""
    session = OpenSession()
    take(session, *(shown(f"i{n}", "ab", T0 + 10_000 + n) for n in range(300)))

    assert len(take(session, click("1", "a"), click("2", "b"))) == 2


def test_what_comes_again_after_its_session_was_let_go_does_not_count() -> None:
    sessions = OpenSessions(RULES, GAP_MS)
    told = [("s", click("1", "a")), ("s", shown("i", "ab")), ("t", click("2", "a", T0 + GAP_MS))]
    sessions.take(told)
    sessions.close(T0 + GAP_MS + 1)
    assert list(sessions.sessions) == ["t"]
    assert (len(sessions.clicks()), len(sessions.showings())) == (2, 2)

    sessions.take([*told, ("new", click("3", "a", T0 + GAP_MS + 2)), ("u", shown("j", "ab", T0 + 1))])

    assert [one.ts_ms - T0 for one in sessions.clicks()] == [GAP_MS + 2]
    assert sessions.showings() == [Showings(T0 + 1, (A, B))]  # the newest of its topic: pages may be far behind clicks


def test_what_comes_again_after_its_session_began_anew_does_not_count() -> None:
    """A backlog: impressions far ahead closed the session before its next click was read."""
    sessions = OpenSessions(RULES, GAP_MS)
    sessions.take([("s", click("1", "a")), ("s", click("2", "b", T0 + 1))])
    sessions.close(T0 + 9 * GAP_MS)
    sessions.take([("s", click("3", "c", T0 + 5))])
    sessions.clicks()

    sessions.take([("s", click("1", "a")), ("s", click("2", "b", T0 + 1)), ("s", click("4", "a", T0 + 6))])

    assert [one.ts_ms - T0 for one in sessions.clicks()] == [6]


def test_every_click_has_an_origin() -> None:
    clicks = [click(str(at), item, T0 + at) for at, item in enumerate("aabca")]

    origins = [click.origin for click in take(OpenSession(), *clicks)]

    assert origins == [
        ClickOrigin.ENTRY,
        ClickOrigin.REPEAT,
        ClickOrigin.FORWARD,
        ClickOrigin.FORWARD,
        ClickOrigin.RETURN,
    ]


def test_a_click_after_the_idle_gap_ends_the_session_and_begins_another() -> None:
    session = OpenSession()
    take(session, click("1", "a"), click("2", "b", T0 + 1))
    again_ms = T0 + 2 + GAP_MS

    ended, again = session.take([click("3", "c", again_ms)], RULES, GAP_MS)

    assert isinstance(ended, EndedSession)
    assert (ended.started_ms, ended.items.tolist()) == (T0, [A, B])
    assert again == CountedClick(again_ms, C, "c")
    assert (session.started_ms, session.clicks) == (again_ms, [C])
    assert session.end() == []  # of one item


def test_impressions_do_not_prolong_a_session() -> None:
    session, later = OpenSession(), GAP_MS * 2 // 3
    take(session, click("1", "a"), click("2", "b", T0 + 1), shown("i", "xyz", T0 + later))

    ended, again = session.take([click("3", "c", T0 + 2 * later)], RULES, GAP_MS)

    assert isinstance(ended, EndedSession)
    assert ended.items.tolist() == [A, B]
    assert again == CountedClick(T0 + 2 * later, C, "c")


def test_a_late_click_counts_as_a_session_of_its_own() -> None:
    session = OpenSession()
    take(session, click("1", "a"), click("2", "b", T0 + 1))
    late_ms = T0 - GAP_MS

    assert take(session, click("3", "c", late_ms)) == [CountedClick(late_ms, C, "c")]
    assert take(session, click("4", "c", late_ms + 1)) == [
        CountedClick(late_ms + 1, C, "c", origin=ClickOrigin.FORWARD, earlier=(B, A))
    ]
    assert (session.clicked_ms, session.clicks) == (T0 + 1, [A, B, C])


@pytest.mark.parametrize(
    ("story", "clicked"),
    [
        ([shown("i", "ab", T0 + 5), click("1", "a", T0 + 10)], [10]),
        ([shown("i", "a", T0 + 5), click("1", "a", T0 + 5)], [5]),
        ([click("1", "a", T0 + 4), shown("i", "a", T0 + 5)], []),
        ([shown("i", "b", T0 + 5), click("1", "a", T0 + 10)], []),
        ([shown("i", "a", T0 + 5), click("1", "a", T0 + 10), click("2", "a", T0 + 11)], [10]),
        ([shown("i", "a", T0 + 5), shown("j", "a", T0 + 6), click("1", "a", T0 + 10), click("2", "a", T0 + 11)], [10]),
        (
            [shown("i", "a", T0 + 5), click("1", "a", T0 + 10), shown("j", "a", T0 + 11), click("2", "a", T0 + 12)],
            [10, 12],
        ),
        ([shown("i", "a", T0 + 5), click("1", "a", T0 + 10), shown("j", "a", T0 + 12)], [10]),
        ([shown("i", "a", T0), click("1", "a", T0 + GAP_MS)], [GAP_MS]),
        ([shown("i", "a", T0), click("1", "a", T0 + GAP_MS + 1)], []),
        ([click("0", "b", T0), shown("i", "a", T0 + 2 * GAP_MS), click("1", "a", T0 + 2 * GAP_MS + 9)], [3_600_009]),
    ],
)
def test_an_impression_is_clicked_whichever_of_the_two_is_read_first(
    story: list[TrendEvent], clicked: list[int]
) -> None:
    """Clicks and impressions are each read in their own order, and in every order between the two."""
    clicks = [one for one in story if one.item_id is not None]
    for order in permutations(story):
        if [one for one in order if one.item_id is not None] == clicks:
            assert clicked_at(OpenSession(), order) == clicked, order


def test_a_session_stays_small_however_long() -> None:
    session = OpenSession()
    for n in range(1000):
        take(session, click(f"c{n}", f"item-{n}", T0 + n), shown(f"i{n}", f"{n % 10}xyz", T0 + n))
        take(session, click(f"d{n}", "d", T0 + n), shown(f"j{n}", chr(1000 + n), T0 + n))

    assert len(session.clicks) == KEPT_CLICKS
    assert len(session.clicked) == 50
    assert len(session.shown) == 300
    assert max(map(len, [*session.shown.values(), *session.clicked.values()])) == 8
    assert (len(session.events), len(session.pages)) == (100, 100)


def test_a_session_ends_by_its_clicks_and_is_spent_by_its_last_event() -> None:
    session = OpenSession()
    take(session, click("1", "a"), click("2", "b", T0 + 1), shown("i", "xy", T0 + 9))

    assert session.end_at(T0 + 1 + GAP_MS, GAP_MS) == []
    [kept] = session.end_at(T0 + 2 + GAP_MS, GAP_MS)
    assert kept.items.tolist() == [A, B]
    assert session.end_at(T0 + 9 * GAP_MS, GAP_MS) == []
    assert not session.is_spent(T0 + 9 + GAP_MS, GAP_MS)
    assert session.is_spent(T0 + 10 + GAP_MS, GAP_MS)


def ended(sessions: OpenSessions, watermark_ms: int) -> list[tuple[int, int, list[int]]]:
    sessions.close(watermark_ms)
    return [(slot, kept.started_ms, kept.items.tolist()) for slot, kept in sessions.ended()]


def clicks(sessions: OpenSessions, session_id: str, *stamped: tuple[str, int]) -> None:
    sessions.take((session_id, click(f"{session_id}{item}{ms}", item, ms)) for item, ms in stamped)


def test_a_session_is_kept_once_when_it_has_ended() -> None:
    sessions = OpenSessions(RULES, GAP_MS)
    clicks(sessions, "s", *((item, T0 + at) for at, item in enumerate("abca")))

    assert ended(sessions, T0 + 3 + GAP_MS) == []
    assert ended(sessions, T0 + 4 + GAP_MS) == [(slot_of("s", T0, 500_000), T0, [A, B, C, A])]
    assert ended(sessions, T0 + 9 * GAP_MS) == []
    assert len(sessions) == 0


def test_what_a_click_after_the_gap_ended_is_kept_too() -> None:
    sessions = OpenSessions(RULES, GAP_MS)
    again_ms = T0 + 1 + GAP_MS + 1
    clicks(sessions, "s", ("a", T0), ("b", T0 + 1), ("c", again_ms), ("a", again_ms + 5))

    assert ended(sessions, again_ms + 5) == [(slot_of("s", T0, 500_000), T0, [A, B])]
    assert ended(sessions, again_ms + 10 * GAP_MS) == [(slot_of("s", again_ms, 500_000), again_ms, [C, A])]


def test_a_click_that_is_ahead_of_its_time_holds_no_other_session_back() -> None:
    sessions = OpenSessions(RULES, GAP_MS)
    clicks(sessions, "ahead", ("a", T0 + 100 * GAP_MS))
    clicks(sessions, "s", ("a", T0), ("b", T0 + 1))

    assert [items for _, _, items in ended(sessions, T0 + 2 + GAP_MS)] == [[A, B]]


def test_a_session_whose_impressions_are_ahead_of_its_clicks_ends_by_its_clicks() -> None:
    sessions = OpenSessions(RULES, GAP_MS)
    sessions.take([("s", shown("i", "ab", T0 + GAP_MS))])
    clicks(sessions, "s", ("a", T0), ("b", T0 + 1))

    assert [items for _, _, items in ended(sessions, T0 + 2 + GAP_MS)] == [[A, B]]
    assert len(sessions) == 1
    assert ended(sessions, T0 + 1 + 2 * GAP_MS) == []
    assert len(sessions) == 0


steps = st.lists(
    st.tuples(st.sampled_from("stu"), st.booleans(), st.sampled_from("abcde"), st.integers(-GAP_MS, 2 * GAP_MS)),
    min_size=1,
    max_size=60,
)


@given(steps, st.integers(1, 60))
def test_many_sessions_at_once_say_what_each_says_by_itself(
    story: list[tuple[str, bool, str, int]], at_once: int
) -> None:
    """One event at a time, some together, or a session of its own each: the same updates and ended sessions."""
    together, ts_ms, events = OpenSessions(RULES, GAP_MS), T0, list[tuple[str, TrendEvent]]()
    for at, (session_id, is_click, item, pause_ms) in enumerate(story):
        ts_ms += pause_ms
        one = click(str(at), item, ts_ms) if is_click else shown(str(at), item + "a", ts_ms)
        events.append((session_id, one))
    for at in range(0, len(events), at_once):
        together.take(events[at : at + at_once])
    alone: dict[str, OpenSession] = {}
    expected, pages, kept = [], [], []
    for session_id, event in events:
        visitor = visitor_of(session_id)
        for output in alone.setdefault(session_id, OpenSession()).take([event], RULES, GAP_MS, visitor=visitor):
            if isinstance(output, EndedSession):
                kept.append((session_id, output))
            elif isinstance(output, Showings):
                pages.append(output)
            else:
                expected.append(output)
    kept += [(session_id, last) for session_id, session in alone.items() for last in session.end()]

    assert together.clicks() == expected
    assert together.clicks() == []
    assert together.showings() == pages
    assert together.showings() == []
    assert sorted(ended(together, ts_ms + 100 * GAP_MS)) == sorted(
        (slot_of(session_id, one.started_ms, RULES.sessions), one.started_ms, one.items.tolist())
        for session_id, one in kept
    )
    assert len(together) == 0


@given(
    st.lists(st.tuples(st.sampled_from("stu"), st.integers(1, 5), st.integers(0, 2 * GAP_MS)), min_size=1, max_size=60)
)
def test_every_session_of_two_items_is_kept_once_whenever_it_is_asked_for(story: list[tuple[str, int, int]]) -> None:
    """Asking after every click, or once at the end, gives the same."""
    often, once = OpenSessions(RULES, GAP_MS), OpenSessions(RULES, GAP_MS)
    ts_ms, found = T0, []
    for at, (session_id, item, pause_ms) in enumerate(story):
        ts_ms += pause_ms
        event = click(str(at), str(item), ts_ms)
        for sessions in (often, once):
            sessions.take([(session_id, event)])
        found += ended(often, ts_ms)
    found += ended(often, ts_ms + 10 * GAP_MS)
    assert sorted(found) == sorted(ended(once, ts_ms + 10 * GAP_MS))


def test_too_many_sessions_for_the_memory_end_early_and_vote_those_longest_without_a_click_first() -> None:
    sessions = OpenSessions(RULES, GAP_MS)
    for at in range(100):
        clicks(sessions, f"s{at}", ("a", T0 + at), ("b", T0 + at + 1))
    clicks(sessions, "s0", ("c", T0 + 500))
    sessions.clicks()
    before = sessions.size
    assert sessions.bound(before) == 0
    assert sessions.bound(before // 2) == 51
    assert sessions.size <= before // 2
    assert sorted(sessions.sessions, key=lambda name: int(name[1:])) == ["s0", *(f"s{at}" for at in range(52, 100))]
    assert len(sessions.ended()) == 51

    clicks(sessions, "s1", ("d", T0 + 600))
    assert sessions.clicks()[0].origin == ClickOrigin.ENTRY
    assert sessions.bound(0) == 50
    assert (len(sessions), sessions.size) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from("stu"), st.booleans(), st.integers(0, GAP_MS)), max_size=40))
def test_the_size_that_is_kept_is_that_of_the_sessions(story: list[tuple[str, bool, int]]) -> None:
    sessions, ts_ms = OpenSessions(RULES, GAP_MS), T0
    for at, (name, is_click, pause_ms) in enumerate(story):
        ts_ms += pause_ms
        sessions.take([(name, click(str(at), "abc"[at % 3], ts_ms) if is_click else shown(str(at), "ab", ts_ms))])
        sessions.close(ts_ms)
        assert sessions.size == sum(one.size for one in sessions.sessions.values())


@pytest.mark.parametrize("code", sorted(set(EventCode) - INTEREST))
def test_an_event_without_interest_counts_for_nothing(code: EventCode) -> None:
    sessions = OpenSessions(RULES, GAP_MS)
    told = [click("1", "a"), shown("i", "b"), click("2", "b", T0 + 5, code), click("3", "c", T0 + 9)]
    sessions.take(("s", event) for event in told)
    assert [(one.item_id, one.earlier) for one in sessions.clicks()] == [("a", ()), ("c", (A,))]
    assert [one.clicked for one in sessions.showings()] == [False]
    sessions.close(T0 + GAP_MS + 10)
    [(_, ended)] = sessions.ended()
    assert ended.items.tolist() == [A, C]
