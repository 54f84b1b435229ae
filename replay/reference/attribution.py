"""Attribution, read plainly: every fact of the log at once, no units, no batches, nothing kept between two facts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attribution.cells import HOUR_MS, Cell, Cells
from attribution.credit import SKEW_MS, CreditRules
from attribution.facts import NOT_RECOMMENDED, SCALE, Dims, Fact, Outcome, Page, Seen, fact_of
from contracts.ids import partition_of
from contracts.plain_events import plain, read_as
from contracts.settings import ServiceSettings
from eventlog.contract import Topic
from eventlog.files import read_events
from eventlog.open_log import open_reader
from replay.reference.lives import count_lives, count_visits
from replay.reference.log import LoggedEvent, read_topic


def logged_facts(settings: ServiceSettings, ends: Mapping[str, int] | None) -> list[Fact]:
    """Return the facts that the log holds before `ends` (next offsets by `topic:partition`; None: all), without those
    that are late. Raises LogUnavailable.
    """
    found: list[Fact] = []
    for topic in (Topic.IMPRESSIONS, Topic.CLICKS):
        logged = read_topic(settings, topic)
        found += facts_in_time(
            settings, (one for one in logged if ends is None or one.offset < ends.get(f"{topic}:{one.partition}", 0))
        )
    return found


def recorded_facts(settings: ServiceSettings, files: Iterable[Path]) -> list[Fact]:
    """Return the facts of recorded files, in the order given, as `logged_facts` does of the log."""
    topics: dict[bool, list[LoggedEvent]] = {True: [], False: []}
    for file in files:
        for at, event in enumerate(read_events(file)):
            partition = partition_of(event.session_id, settings.log.partitions)
            topics[event.is_impression].append(LoggedEvent(partition, at, event))
    return [*facts_in_time(settings, topics[True]), *facts_in_time(settings, topics[False])]


def trimmed(settings: ServiceSettings) -> int:
    """Return how many records of both topics the log no longer holds. Raises LogUnavailable."""
    gone = 0
    for topic in (Topic.IMPRESSIONS, Topic.CLICKS):
        reader = open_reader(settings.log, settings.redis, topic, list(range(settings.log.partitions)), "reference")
        try:
            gone += sum(reader.earliest().values())
        finally:
            reader.close()
    return gone


def facts_in_time(settings: ServiceSettings, logged: Iterable[LoggedEvent]) -> list[Fact]:
    """Return the facts of one topic's records, without those that one before them in their partition is newer than by
    more than the longest window.
    """
    found: list[Fact] = []
    newest: Counter[int] = Counter()
    for one in logged:
        fact = fact_of(read_as(plain(one.event), settings.events.types)) if one.event is not None else None
        if fact is not None:
            newest[one.partition] = max(newest[one.partition], fact.ts)
            if newest[one.partition] - fact.ts <= settings.attribution.longest_ms:
                found.append(fact)
    return found


def plain_cells(facts: Iterable[Fact], rules: CreditRules) -> Cells:
    """Return what facts count for. Of one page or event that came more than once, the first counts."""
    pages: dict[tuple[str, str], Page] = {}
    lines: dict[tuple[bool, str, str], tuple[Fact, Outcome]] = {}
    seen: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    users: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        if fact.user_id is not None:
            users[fact.session_id].add(fact.user_id)
        if isinstance(fact.what, Page):
            pages.setdefault((fact.session_id, fact.what.page_id), fact.what)
        elif isinstance(fact.what, Seen):
            seen[fact.session_id, fact.what.page_id] |= set(_keys(fact.what.items))
        else:
            who = (True, fact.user_id) if fact.user_id is not None else (False, fact.session_id)
            lines.setdefault((*who, fact.what.event_id), (fact, fact.what))
    cells: Cells = Counter()
    _pages(cells, pages, seen)
    of_session, of_user = defaultdict[str, list[Page]](list), defaultdict[str, list[Page]](list)
    for (session_id, _), page in pages.items():
        of_session[session_id].append(page)
        for user_id in users[session_id]:
            if page.user_id in (None, user_id):
                of_user[user_id].append(page)
    outcomes: dict[tuple[bool, str], list[Outcome]] = defaultdict(list)
    for (is_user, who_id, _), (_, outcome) in lines.items():
        outcomes[is_user, who_id].append(outcome)
    for (is_user, who_id), own in outcomes.items():
        _visitor(cells, own, (of_user if is_user else of_session)[who_id], rules)
    everybody = {(True, name) for name in of_user} | {(False, name) for name in of_session} | outcomes.keys()
    for is_user, who_id in everybody:
        found, own = (of_user if is_user else of_session)[who_id], outcomes[is_user, who_id]
        if is_user or not users[who_id]:
            count_visits(cells, found)
        count_lives(
            cells,
            found,
            own,
            lambda line, found=found: _earners(line, found, rules),  # type: ignore[misc]
            is_user=is_user,
            gap_ms=2 * max(rules.click_ms, rules.purchase_ms),
        )
    return Counter({cell: count for cell, count in cells.items() if count})


def _pages(cells: Cells, pages: dict[tuple[str, str], Page], seen: dict[tuple[str, str], set[bytes]]) -> None:
    visits: dict[tuple[str, Dims], int] = {}
    for (session_id, page_id), page in pages.items():
        hour, items = page.ts // HOUR_MS, _keys(page.items)
        cells[Cell(hour, page.dims, "pages")] += SCALE
        cells[Cell(hour, page.dims, "shown")] += SCALE * len(items)
        cells[Cell(hour, page.dims, "viewed")] += SCALE * len(seen[session_id, page_id] & set(items))
        for at in range(len(items)):
            cells[Cell(hour, _placed(page.dims), f"shown@{at + 1}")] += SCALE
        key = (session_id, page.dims)
        visits[key] = min(hour, visits.get(key, hour))
    for (_, dims), hour in visits.items():
        cells[Cell(hour, dims, "sessions")] += SCALE


def _visitor(cells: Cells, outcomes: Sequence[Outcome], pages: Sequence[Page], rules: CreditRules) -> None:
    bought = [one for one in outcomes if one.kind == "purchase"]
    first_lines: dict[tuple[str, str], tuple[bool, int, str]] = {}
    for line in bought:
        order = ("order", line.order_id) if line.order_id is not None else ("event", line.event_id)
        rank = (not _earners(line, pages, rules), line.ts, line.event_id)
        first_lines[order] = min(rank, first_lines.get(order, rank))
    firsts = {event_id for _, _, event_id in first_lines.values()}
    for one in outcomes:
        earners, hour = _earners(one, pages, rules), one.ts // HOUR_MS
        if one.kind == "return":
            before = [
                line
                for line in bought
                if line.item == one.item
                and line.ts <= one.ts
                and (line.order_id is None or one.order_id is None or line.order_id == one.order_id)
            ]
            if before:
                earners = _earners(sorted(before, key=lambda line: (line.ts, line.event_id))[-1], pages, rules)
        counted = {f"{one.kind}s": SCALE}
        if one.kind == "cart":
            after = [line for line in bought if line.item == one.item and 0 <= line.ts - one.ts <= rules.purchase_ms]
            counted["carts_bought"] = SCALE if after else 0
        if one.kind in ("purchase", "return"):
            back = one.kind == "return"
            counted["pieces_returned" if back else "pieces"] = SCALE * one.quantity
            counted["unpriced"] = SCALE if one.money is None else 0
            counted[f"{'returned' if back else 'revenue'}:{one.currency}"] = one.money or 0
            counted["orders"] = SCALE if one.event_id in firsts and not back else 0
        for counter, total in counted.items():
            for dims, part in _parts(total, [page.dims for page in earners]):
                cells[Cell(hour, dims, counter)] += part
        if one.kind == "click" and earners:
            for page, (_, part) in zip(earners, _parts(SCALE, [page.dims for page in earners]), strict=True):
                position = _keys(page.items).index(one.item) + 1
                cells[Cell(hour, _placed(page.dims), f"clicks@{position}")] += part
        if one.money is not None and earners:
            for page, (dims, part) in zip(earners, _parts(one.money, [page.dims for page in earners]), strict=True):
                margin = page.margins[_keys(page.items).index(one.item)] if page.margins is not None else None
                if margin is not None:
                    earned = part * margin // SCALE
                    cells[Cell(hour, dims, f"margin:{one.currency}")] += earned if one.kind == "purchase" else -earned


def _earners(one: Outcome, pages: Sequence[Page], rules: CreditRules) -> list[Page]:
    held = [page for page in pages if one.item in _keys(page.items)]
    longest = max(rules.click_ms, rules.purchase_ms)
    for page in held:
        if page.page_id == one.request_id and page.ts - SKEW_MS <= one.ts <= page.ts + longest:
            return [page]
    window = rules.click_ms if one.kind == "click" else rules.purchase_ms
    held = sorted(
        (page for page in held if page.ts <= one.ts <= page.ts + window), key=lambda page: (page.ts, page.page_id)
    )
    return {"last": held[-1:], "first": held[:1], "linear": held}[rules.touch]


def _parts(total: int, earners: Sequence[Dims]) -> list[tuple[Dims, int]]:
    if not earners:
        return [(NOT_RECOMMENDED, total)]
    part = total // len(earners)
    last = total - part * (len(earners) - 1)
    return [(dims, part if at + 1 < len(earners) else last) for at, dims in enumerate(earners)]


def _placed(dims: Dims) -> Dims:
    return dims._replace(model="", rung="", returning="", device="", region="")


def _keys(items: bytes) -> list[bytes]:
    return [items[at : at + 8] for at in range(0, len(items), 8)]
