"""What a recording is like: how its items, visits and users are distributed. Pure arrays, but for the reading."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import xxhash
from numpy.typing import NDArray

from contracts.errors import ImportFormatError
from eventlog.files import counted_fields, read_raw

Codes = NDArray[np.uint64]
Click = tuple[str, str, str | None, float]
"""A session, an item, a user where one is known, and a time in milliseconds, NaN where none is known."""
_AT_ONCE: Final = 100_000
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Clicks:
    """Views of a recording (n,): hashes of `session`, `item` and `user` (0 for none), `ts_ms` (NaN for none), in the
    order of the file; `types` how many events of each type there are, views among them.
    """

    session: Codes
    item: Codes
    user: Codes
    ts_ms: NDArray[np.float64]
    types: Mapping[str, int]


def read_clicks(path: Path, leave_out: Collection[str] = (), progress: Progress = lambda done: None) -> Clicks:
    """Read the views of an event log (`.jsonl`, `.jsonl.zst`), of a table `SessionId ItemId Time` with tabs between and
    times in seconds, or of a file with the items of one session a line.

    Sessions of `leave_out` are left out. Raises ImportFormatError for another file.
    """
    session, item, user, ts_ms = array("Q"), array("Q"), array("Q"), array("d")
    types: Counter[str] = Counter()
    for number, (kind, (of, what, who, when)) in enumerate(_clicks(path), start=1):
        if number % _AT_ONCE == 0:
            progress(number)
        if of in leave_out:
            continue
        types[kind] += 1
        if kind == "view":
            session.append(_code(of))
            item.append(_code(what))
            user.append(0 if who is None else _code(who))
            ts_ms.append(when)
    return Clicks(_codes(session), _codes(item), _codes(user), np.array(ts_ms), types)


def _codes(column: array[int]) -> Codes:
    return np.array(column, np.uint64)


def _code(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode()) | 1  # never 0: that is nobody


def _clicks(path: Path) -> Iterator[tuple[str, Click]]:
    if path.name.endswith((".jsonl", ".jsonl.zst")):
        yield from _of_log(path)
        return
    with path.open(encoding="utf-8") as file:
        try:
            first = next(file, "").split("\t")
            yield from _of_table(path, file) if first[0] == "SessionId" else _of_sessions(path)
        except UnicodeDecodeError as error:
            raise ImportFormatError(
                f"{path}: expected an event log, a table of clicks or sessions, got {error}"
            ) from error


def _of_log(path: Path) -> Iterator[tuple[str, Click]]:
    for number, line in enumerate(read_raw(path), start=1):
        try:
            fields = orjson.loads(line)
            ts_ms, session, items = counted_fields(fields)
        except ValueError as error:
            raise ImportFormatError(f"{path}: event {number}: {error}") from error
        yield str(fields.get("type")), (session, items[0] if items else "", fields.get("user_id"), float(ts_ms))


def _of_table(path: Path, lines: Iterator[str]) -> Iterator[tuple[str, Click]]:
    for number, line in enumerate(lines, start=2):
        try:
            session, item, seconds = line.split("\t")[:3]
            yield "view", (session, item, None, float(seconds) * 1000)
        except ValueError as error:
            raise ImportFormatError(
                f"{path}:{number}: expected session, item and seconds, got {line[:60]!r}"
            ) from error


def _of_sessions(path: Path) -> Iterator[tuple[str, Click]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            for item in line.split():
                yield "view", (str(number), item, None, float("nan"))


def figures(clicks: Clicks) -> dict[str, float]:
    """Return what the views are like, by name; NaN where the recording does not say."""
    if not len(clicks.session):
        return {"views": 0.0}
    session, of = np.unique(clicks.session, return_inverse=True)
    length = np.bincount(of)
    return {
        "views": float(len(of)),
        "sessions": float(len(session)),
        **_of_items(clicks.item),
        "views a session, mean": float(length.mean()),
        **{f"views a session, {name}": float(np.percentile(length, at)) for name, at in _AT.items()},
        "sessions of one view": float((length == 1).mean()),
        "views of an item seen before in the session": _repeated(of, clicks.item),
        "seconds between views, median": _gap_s(of, clicks.ts_ms),
        **_of_users(clicks, of),
        **{f"{kind} events for 100 views": _for_100(clicks.types, kind) for kind in ("cart", "purchase", "return")},
    }


_AT: Final = {"median": 50, "90%": 90, "99%": 99}


def _for_100(types: Mapping[str, int], kind: str) -> float:
    return 100 * types[kind] / types["view"] if kind in types else float("nan")


def _of_items(item: Codes) -> dict[str, float]:
    counts = np.sort(np.unique(item, return_counts=True)[1])[::-1]
    n, total = len(counts), counts.sum()
    ranked = np.arange(1, n + 1)
    top = ranked <= max(n // 10, 1)
    slope = np.polyfit(np.log(ranked[top]), np.log(counts[top]), 1)[0] if top.sum() > 2 else np.nan
    return {
        "items viewed": float(n),
        "share of the views: top 1% of items": float(counts[: max(n // 100, 1)].sum() / total),
        "share of the views: top 10%": float(counts[: max(n // 10, 1)].sum() / total),
        "Gini of items": float((n + 1 - 2 * (np.cumsum(counts[::-1]) / total).sum()) / n),
        "slope of the top 10% (log views to log rank)": float(slope),
        "items with 5 views or fewer": float((counts <= 5).mean()),
    }


def _repeated(of: NDArray[np.int64], item: Codes) -> float:
    pairs = np.column_stack([of.astype(np.uint64), item])
    return 1.0 - len(np.unique(pairs, axis=0)) / len(pairs)


def _gap_s(of: NDArray[np.int64], ts_ms: NDArray[np.float64]) -> float:
    order = np.lexsort((ts_ms, of))
    same = np.diff(of[order]) == 0
    gaps = np.diff(ts_ms[order])[same]
    return float(np.median(gaps) / 1000) if len(gaps) else float("nan")


def _of_users(clicks: Clicks, of: NDArray[np.int64]) -> dict[str, float]:
    named = clicks.user > 0
    visits = np.unique(np.column_stack([clicks.user[named], of[named].astype(np.uint64)]), axis=0)
    each = np.unique(visits[:, 0], return_counts=True)[1] if len(visits) else np.empty(0)
    missing = float("nan")
    return {
        "users": float(len(each)) if len(each) else missing,
        "views by a known user": float(named.mean()) if len(each) else missing,
        "sessions a user, mean": float(each.mean()) if len(each) else missing,
        "sessions a user, median": float(np.median(each)) if len(each) else missing,
        "sessions a user, 90%": float(np.percentile(each, 90)) if len(each) else missing,
        "users with more than one session": float((each > 1).mean()) if len(each) else missing,
    }


def bots_of(truth: Path) -> frozenset[str]:
    """Return the sessions that a sample's truth.json says are no human's. Raises ImportFormatError for another file."""
    try:
        document: Any = orjson.loads(truth.read_bytes())
        return frozenset(bot["session"] for bot in document["bots"])
    except (ValueError, KeyError, TypeError) as error:
        raise ImportFormatError(f"{truth}: expected the truth.json of `nextclick sample make` ({error})") from error
