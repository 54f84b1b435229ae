"""Fields as vendors write them: ids, numbers of pieces, times, addresses of pages; each read in one way, or refused."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import orjson

from contracts.events import MOST_PIECES, Rejection, is_rating, shown
from contracts.pointers import pointer

Place = tuple[str | int, ...]

LONGEST_ID: Final = 256
LONGEST_TEXT: Final = 256
"""Characters of a context's text."""
MOST_INNER: Final = 65_536
"""Bytes of JSON that stands in a text of a payload."""
FIRST_MS: Final = 10**11
"""In 1973: smaller numbers are epoch seconds that are taken for milliseconds."""
LAST_MS: Final = 253_402_300_799_999
NO_IDS: Final = frozenset(("", "null", "none", "undefined", "nan", "n/a", "na", "(not set)", "(none)"))
"""What stands where an id is missing."""
MINUTE_MS: Final = 60_000


class Problem(Exception):
    """Something that cannot be taken: a stable word for counting, where it stands, and what was expected."""

    def __init__(self, reason: str, place: Place, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.place, self.detail = reason, place, detail

    def under(self, place: Place) -> Problem:
        return Problem(self.reason, (*place, *self.place), self.detail)

    def refusal(self, name: str) -> Rejection:
        """Return it for the reader, who gets the vendor's name of the event and a JSON pointer."""
        return Rejection(self.reason, f"{name} at {pointer(self.place) or 'the payload'}: {self.detail}")


def optional_id(value: object, place: Place = ()) -> str | None:
    """Return an id as text, None where there is none.

    Spaces around it go. Those inside, zeros in front, prefixes and the case of letters stay: `sku:123`, `00123` and
    `A 1` are ids of their own. A whole number becomes its digits. Raises Problem for what is no id, or longer than 256.
    """
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in NO_IDS:
            return None
    elif value is None:
        return None
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
        text = str(value)
    elif isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        text = str(int(value))
    else:
        raise Problem("invalid_id", place, f"expected an id, a text or a whole number, got {shown(value, 60)}")
    if len(text) > LONGEST_ID:
        raise Problem("invalid_id", place, f"expected an id of 1 to {LONGEST_ID} characters, got {len(text)}")
    return text


def named_id(value: object, place: Place, what: str) -> str:
    """Return an id that has to be there. Raises Problem."""
    found = optional_id(value, place)
    if found is None:
        reason = "no_item" if "item" in what else "no_session"
        raise Problem(reason, place, f"expected {what}, got {shown(value, 40)}")
    return found


def first_id(*values: object, place: Place = ()) -> str | None:
    """Return the first of several that is an id."""
    for value in values:
        if (found := optional_id(value, place)) is not None:
            return found
    return None


def joined(words: tuple[object, ...]) -> str:
    """Return words as one id: readable where it is short, else a hash of them (BLAKE2b, 128 bit)."""
    text = ":".join(str(word).replace("%", "%25").replace(":", "%3A") for word in words)
    if len(text) <= 200:
        return text
    return f"{words[0]}:{blake2b(text.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"


def hashed(*words: object) -> str:
    """Return 128 bits that follow from words, as hex digits; a word is told from two."""
    text = "\x1f".join(map(str, words))
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def word(value: object) -> str:
    """Return what a key may be made of: a text or a number, empty for anything else."""
    return str(value) if isinstance(value, str | int | float) else ""


def text_of(value: object) -> str:
    """Return a text, empty for anything else."""
    return value if isinstance(value, str) else ""


def rating_of(value: object) -> float | None:
    """Return a rating from 1 to 5, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_rating(value):
        return None
    return float(value)


def quantity_of(value: object, place: Place) -> int | None:
    """Return a number of pieces, None where there is none. Raises Problem for what is none from 1 to 1,000,000."""
    if value is None or value == "":
        return None
    number = value
    if isinstance(value, str) and value.strip().isascii():
        text = value.strip().removesuffix(".0")
        number = int(text) if text.isdecimal() and len(text) <= 9 else value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST_PIECES:
        raise Problem("invalid_quantity", place, f"expected 1 to {MOST_PIECES} pieces, got {shown(value, 40)}")
    return number


def object_in(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the object that a field holds, an empty one where it holds none."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def list_in(document: Mapping[str, Any], name: str) -> list[Any]:
    """Return the list that a field holds, an empty one where it is missing. Raises Problem for anything else."""
    found = document.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise Problem("invalid", (name,), f"expected a list, got {shown(found, 40)}")
    return found


def iso_ms(value: object, place: Place) -> int | None:
    """Return a time (ISO 8601, or epoch milliseconds) as epoch milliseconds, None where there is none.

    Without a zone it is UTC. Raises Problem.
    """
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return plausible_ms(value, place)
    if isinstance(value, str) and len(value) <= 64:
        try:
            when = datetime.fromisoformat(value.strip())
            when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
            return plausible_ms(round(when.timestamp() * 1000), place)
        except (ValueError, OverflowError):
            pass
    raise Problem("invalid_time", place, f"expected a time such as 2026-11-29T12:00:00Z, got {shown(value, 60)}")


def epoch_ms(value: object, place: Place, *, unit: str) -> int | None:
    """Return a time in `microseconds`, `milliseconds` or `seconds` as epoch milliseconds, None where there is none.

    Raises Problem, also for one that lies before 1973 or after the year 5138 in that unit: it is in another one.
    """
    if value is None or value == "":
        return None
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() and len(value) <= 20 else value
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    times, per_ms = _UNITS[unit]
    if isinstance(number, bool) or not isinstance(number, int):
        raise Problem("invalid_time", place, f"expected epoch {unit}, got {shown(value, 40)}")
    if not FIRST_MS <= number * times // per_ms < 10**14:
        raise Problem("invalid_time", place, f"expected epoch {unit}, got {shown(value, 40)}: another unit?")
    return number * times // per_ms


_UNITS: Final = {"microseconds": (1, 1000), "milliseconds": (1, 1), "seconds": (1000, 1)}


def plausible_ms(found: int, place: Place) -> int:
    """Return a time in epoch milliseconds that can be. Raises Problem."""
    if not FIRST_MS <= found <= LAST_MS:
        raise Problem("invalid_time", place, f"expected a time between 1973 and 9999, got {shown(found, 40)} ms")
    return found


def happened_ms(made_ms: int | None, sent_ms: int | None, received_ms: int | None) -> int:
    """Return when something happened by our clock, from when a device says that it was made and sent.

    A device's clock may be hours off, but it is off by the same when an event is made and when it is sent. So what
    happened lies as long before we got it as it was made before it was sent. Without the time of sending the device is
    believed; without any time it happens now. In an import (`received_ms` is None) the device is believed. Raises
    Problem where there is no time at all.
    """
    if made_ms is None:
        if received_ms is None:
            raise Problem("no_time", (), "expected a time, got none: in an import nothing else says when it was")
        return received_ms
    if sent_ms is None or received_ms is None:
        return made_ms
    return plausible_ms(received_ms - max(0, sent_ms - made_ms), ())


def page_of(address: object) -> str | None:
    """Return an address without what may tell who the visitor is: user, query and fragment."""
    if not isinstance(address, str) or not address:
        return None
    bare = address.partition("#")[0].partition("?")[0]
    scheme, separator, rest = bare.partition("://")
    if separator and "@" in (host := rest.partition("/")[0]):
        bare = f"{scheme}://{host.rpartition('@')[2]}{rest[len(host) :]}"
    return bare[:LONGEST_TEXT] or None


def context_of(**said: object) -> dict[str, Any]:
    """Return what is said of a page and a device, as far as it is a short text or a number."""
    found: dict[str, Any] = {}
    for name, value in said.items():
        if isinstance(value, str):
            if text := value.strip():
                found[name] = text[:LONGEST_TEXT]
        elif isinstance(value, int | float):
            found[name] = value
    return found


def json_in(text: object, place: Place, *, is_base64: bool = False) -> Any:
    """Return the JSON that a text of a payload holds, plain or as base64. Raises Problem."""
    if not isinstance(text, str):
        raise Problem("invalid", place, f"expected a text that holds JSON, got {shown(text, 40)}")
    if len(text) > MOST_INNER * 4 // 3 + 4:
        raise Problem("too_large", place, f"expected at most {MOST_INNER} bytes of JSON in a text, got {len(text)}")
    try:
        raw = _from_base64(text) if is_base64 else text.encode()
        if len(raw) > MOST_INNER:
            raise Problem("too_large", place, f"expected at most {MOST_INNER} bytes of JSON in a text, got {len(raw)}")
        return orjson.loads(raw)
    except (ValueError, binascii.Error) as error:  # also what is no UTF-8, and JSON that is none
        kind = "base64 of JSON" if is_base64 else "JSON"
        raise Problem("not_json", place, f"expected {kind}, got {shown(text, 40)} ({error})") from None


def _from_base64(text: str) -> bytes:
    """Decode base64 in either alphabet, with or without its padding."""
    plain = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
    return b64decode(plain + "=" * (-len(plain) % 4), validate=True)
