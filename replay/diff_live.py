"""Two live targets, fed the same schedule at the same time: how their answers to the same questions differ.

Each target has a player of its own, so that a slow one does not hold the other back, and its own tokens.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np
import orjson

from contracts.clock import wall_clock_ms
from contracts.errors import SettingsError
from eventlog.files import read_header, read_raw
from replay.http_client import HttpClient
from replay.live import GatewayQuestions, LiveAsker, Shown
from replay.options import PlayOptions, Questions
from replay.play import Player, Snapshot
from replay.result import PlayResult, result_of
from replay.run import new_run_name
from replay.schedule import Page, Planned, Rewriting, clicked_item, schedule
from replay.tally import Tally
from replay.targets import GatewayTarget

KS = (5, 10, 20)
DRAWS = 1000
HEAD_START_S = 0.2

_NAMES = re.compile(r'"[^"]*"')
"""Names in a reason, such as the title of an item: reasons are counted without them."""

_planned: ContextVar[Planned] = ContextVar("planned")


@dataclass(frozen=True, slots=True)
class Answer:
    """One target's answer to one question: items from the first position on, why each is there, and whether the
    visitor's next click is among them.
    """

    session_id: str
    items: tuple[str, ...]
    reasons: tuple[str, ...]
    hit: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over questions, and the 95% interval of resampling whole sessions."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ListsCompared:
    """How two targets' answers to the same questions compare.

    `overlap` is by k; `rank_change` the mean distance between an item's two positions, where both show it;
    `hit_difference` the hit rate of b less that of a, question by question. `only_a` and `only_b` count items that one
    target alone shows, by the reason it gave.
    """

    questions: int
    overlap: dict[int, Estimate]
    hit_difference: Estimate
    same_first: float
    same_list: float
    rank_change: float
    only_a: dict[str, int]
    only_b: dict[str, int]

    def metrics(self) -> dict[str, float]:
        """Return what conditions may name."""
        named = {f"overlap@{k}": estimate.value for k, estimate in self.overlap.items()}
        named["paired_hit_rate"] = self.hit_difference.value
        return {**named, "same_first": self.same_first, "same_list": self.same_list, "rank_change": self.rank_change}


@dataclass(slots=True)
class Heard:
    """What one target answered, by the question's place in the schedule. Grows while it runs."""

    answers: dict[int, Answer] = field(default_factory=dict)


class HeardQuestions:
    """Asks as `GatewayQuestions` does, and keeps what was answered."""

    def __init__(self, questions: GatewayQuestions, heard: Heard) -> None:
        self._questions, self._heard = questions, heard
        self.limit = questions.limit

    def request(self, planned: Planned, page: Page) -> tuple[bytes, bytes]:
        _planned.set(planned)  # the answer is read in the task that asked
        return self._questions.request(planned, page)

    def read(self, body: bytes) -> Shown:
        shown = self._questions.read(body)
        planned = _planned.get()
        told = orjson.loads(body)["recommendations"]
        reasons = tuple(_NAMES.sub("…", str(one.get("reason") or "none given")) for one in told)
        hit = clicked_item(planned.fields) in shown.items
        self._heard.answers[planned.index] = Answer(planned.session_id, tuple(shown.items), reasons, hit)
        return shown


async def play_both(
    options: PlayOptions, url_a: str, url_b: str, *, progress: Callable[[Snapshot], None] = lambda now: None
) -> tuple[PlayResult, PlayResult, ListsCompared]:
    """Play the same schedule into both gateways at once. Raises SettingsError without questions to compare."""
    if options.questions is None:
        raise SettingsError("expected questions to compare the answers of: ask with --recommend")
    questions = options.questions
    header, start_ms = read_header(options.recording), wall_clock_ms()
    options = replace(options, run=options.run or new_run_name(start_ms))
    start = perf_counter() + HEAD_START_S
    heard = Heard(), Heard()
    tallies = await asyncio.gather(
        _play_one(replace(options, url=url_a), questions, heard[0], start, start_ms, progress),
        _play_one(replace(options, url=url_b), questions, heard[1], start, start_ms, lambda now: None),
    )
    recording = f"{options.recording} ({header.events:,} events)"
    ours, theirs = (
        result_of(tally, run=options.run, recording=recording, target=url, pace=str(options.pace))
        for tally, url in zip(tallies, (url_a, url_b), strict=True)
    )
    return ours, theirs, compare_lists(heard[0].answers, heard[1].answers)


async def _play_one(
    options: PlayOptions,
    questions: Questions,
    heard: Heard,
    start: float,
    start_ms: int,
    progress: Callable[[Snapshot], None],
) -> Tally:
    async with HttpClient(options.url, connections=options.limits.connections, attempt_s=options.attempt_s) as http:
        asking = HeardQuestions(GatewayQuestions(http, placements=questions.placements, limit=questions.limit), heard)
        asker = LiveAsker(http, asking, share=questions.share)
        target = GatewayTarget(http, give_up_s=options.give_up_s)
        player = Player(target, limits=options.limits, asker=asker)
        rewriting = Rewriting(options.run, options.time, options.rename_sessions)
        plan = schedule(read_raw(options.recording), options.pace, rewriting, start_ms=start_ms, limit=options.events)
        played = await player.play(plan, progress=progress, start=start)
        return Tally.of(played, options.limits, asker.asked)


def compare_lists(a: Mapping[int, Answer], b: Mapping[int, Answer], *, seed: int = 0) -> ListsCompared:
    """Compare answers to the same questions; a question that one target did not answer is left out."""
    pairs = [(a[index], b[index]) for index in sorted(a.keys() & b.keys())]
    if not pairs:
        nothing = Estimate(0.0, 0.0, 0.0)
        return ListsCompared(0, dict.fromkeys(KS, nothing), nothing, 0.0, 0.0, 0.0, {}, {})
    rng = np.random.default_rng(seed)
    sessions = [one.session_id for one, _ in pairs]
    moves = [abs(one.items.index(item) - other.items.index(item)) for one, other in pairs for item in one.items
             if item in other.items]  # fmt: skip
    return ListsCompared(
        questions=len(pairs),
        overlap={k: _by_session([_overlap(*pair, k) for pair in pairs], sessions, rng) for k in KS},
        hit_difference=_by_session([float(other.hit) - float(one.hit) for one, other in pairs], sessions, rng),
        same_first=float(np.mean([one.items[:1] == other.items[:1] for one, other in pairs])),
        same_list=float(np.mean([one.items == other.items for one, other in pairs])),
        rank_change=float(np.mean(moves)) if moves else 0.0,
        only_a=_alone(pairs),
        only_b=_alone([(other, one) for one, other in pairs]),
    )


def _overlap(a: Answer, b: Answer, k: int) -> float:
    """Return the share of the first k that both show; of shorter answers, of as many as the longer one has."""
    first, second = set(a.items[:k]), set(b.items[:k])
    longest = max(len(first), len(second))
    return len(first & second) / longest if longest else 1.0


def _alone(pairs: Sequence[tuple[Answer, Answer]]) -> dict[str, int]:
    """Count the items that only the first of each pair shows, by reason, most first."""
    found = Counter(
        reason
        for one, other in pairs
        for item, reason in zip(one.items, one.reasons, strict=True)
        if item not in other.items
    )
    return dict(found.most_common())


def _by_session(values: Sequence[float], sessions: Sequence[str], rng: np.random.Generator) -> Estimate:
    """Return the mean of values (n,) with an interval from resampling sessions: a visitor's answers resemble."""
    _, codes = np.unique(np.asarray(sessions), return_inverse=True)
    sums, counts = np.bincount(codes, values), np.bincount(codes)
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        chosen = rng.integers(0, len(sums), len(sums))
        means[draw] = sums[chosen].sum() / counts[chosen].sum()
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(float(np.mean(values)), float(low), float(high))
