"""Names that a client may give a field of its own, and documents with such fields."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

_WORDS = """
cls self args kwargs _fields_set values item op document exclude position vector created_ms category_path code
model_config model_fields model_fields_set model_extra model_dump model_construct is_impression product_id score
__class__ __dict__ __init__ __slots__ __pydantic_extra__ __pydantic_fields_set__ __proto__ constructor accepted visible
format events source reason raw key next watermark placement Title {title} %s a/b a~b 0 naïve 名前 🛒
"""
NAMES: Final = (*_WORDS.split(), "", " ", "title ", "\n", "\u202e", "n" * 1000)
"""Field names that once were, or might become, arguments, attributes or fields of ours."""

_INTEGERS = st.integers(-(2**63), 2**64 - 1)
_LEAVES = st.booleans() | _INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)


def named(names: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Fields of those names, each with a JSON value that is not null."""
    values = st.recursive(
        _LEAVES,
        lambda inner: st.lists(inner | st.none(), max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=8,
    )
    return st.dictionaries(names, values, max_size=12)


def open_fields(*ours: str) -> st.SearchStrategy[dict[str, Any]]:
    """A client's own fields: those above and any text, but none of `ours`."""
    return named((st.sampled_from(NAMES) | st.text(max_size=30)).filter(lambda name: name not in ours))
