"""Rules of a site's own, named by the setting `rules`: loaded once, when a pipeline is made."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence

import numpy as np

from contracts.errors import SettingsError
from rerank.rules import RULES, Proposed, Rule, Visitors, names_of
from retrieval.catalogue import CatalogueColumns
from retrieval.contexts import Contexts

SETTING = "NEXTCLICK_PIPELINE__RULES"


def load_rules(names: Sequence[str]) -> tuple[Rule, ...]:
    """Return the rules that are named as `package.module:function`, in their order.

    Raises SettingsError for one that cannot be imported, is no function of one argument, does not return booleans, or
    has the name of another rule: drops are counted by it.
    """
    rules: list[Rule] = []
    for name in names:
        rule = _import(name)
        _expect_rule(name, rule)
        if rule.__name__ in names_of((*RULES, *rules)):
            raise _wrong(
                name, "a name of its own, because drops are counted by it", f"the rule {rule.__name__!r} twice"
            )
        rules.append(rule)
    return tuple(rules)


def _import(name: str) -> Rule:
    module, _, function = name.partition(":")
    if not module or not function:
        raise _wrong(name, "package.module:function", "something else")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # a module runs code of the site's own, which may raise anything
        raise _wrong(name, "a function that can be imported", f"{type(error).__name__}: {error}") from error
    if not inspect.isfunction(found):
        raise _wrong(name, "a function", f"a {type(found).__name__}")
    rule: Rule = found
    return rule


def _expect_rule(name: str, rule: Rule) -> None:
    """Ask the rule about no candidates at all, as a batch without any would."""
    wanted = "a function of one argument, rerank.rules.Proposed, that returns a boolean a candidate"
    try:
        inspect.signature(rule).bind(None)
    except TypeError as error:
        raise _wrong(name, wanted, str(error)) from error
    try:
        dropped = rule(_nothing_proposed())
    except Exception as error:
        raise _wrong(name, wanted, f"{type(error).__name__}, asked about none: {error}") from error
    if not isinstance(dropped, np.ndarray) or dropped.dtype != np.bool_ or dropped.shape != (0,):
        raise _wrong(name, wanted, f"{dropped!r:.80}, asked about none")


def _nothing_proposed() -> Proposed:
    nothing, none = np.zeros(0, np.int32), np.zeros(0, np.bool_)
    window = np.zeros((0, 1), np.int64)
    contexts = Contexts(
        now_ms=np.zeros(0, np.int64),
        keys=window.astype(np.uint64),
        rows=window.astype(np.int32),
        codes=window.astype(np.uint8),
        ts_ms=window,
        lengths=nothing,
        page_leads=none,
        queries=np.zeros((0, 0), np.float32),
        has_query=none,
    )
    visitors = Visitors([], np.zeros(0, np.int16), nothing, none, none, np.zeros(0, np.int64))
    return Proposed(nothing, nothing, CatalogueColumns(), contexts, visitors)


def _wrong(name: str, expected: str, got: str) -> SettingsError:
    return SettingsError(f"{SETTING}: {name}: expected {expected}, got {' '.join(got.split())}")
