"""Keys in a process's memory: found by their hash, and whatever is none is refused."""

from __future__ import annotations

import asyncio
import dis
import hmac
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.api_keys import Made, Scope, encode_key, new_key
from gateway import key_table
from gateway.door import Door
from gateway.key_table import KeyTable
from gateway.problems import Refused
from gateway.settings import GatewayOptions
from tests.gateway.conftest import Client, Start


@pytest.fixture(scope="module")
def held() -> tuple[KeyTable, Made]:
    made = new_key("one", ["recommend"], public=False, now_ms=0)
    return table_of(made), made


def table_of(*made: Made) -> KeyTable:
    table = KeyTable(lambda: 0)
    table.apply([(int.from_bytes(one.key.row_key, "little"), row_of(one)) for one in made])
    return table


def row_of(made: Made) -> bytes:
    return encode_key(made.key)


HEADERS = st.one_of(
    st.text(st.characters(min_codepoint=1, max_codepoint=0x10FFFF), max_size=200),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["Bearer", "bearer", "BEARER", "Basic", ""]),
        st.text(" \t", max_size=3),
        st.text(max_size=100),
    ),
    st.builds("Bearer {}".format, st.from_regex(r"\Anc[sp]_[0-9a-f]{16}_[0-9a-f]{48}\Z")),
    st.builds("Bearer {}".format, st.text("\ud800\udcff\udfff\x00é", max_size=80)),
)


@given(header=HEADERS)
def test_whatever_stands_in_authorization_that_is_no_key_is_401(held: tuple[KeyTable, Made], header: str) -> None:
    door = Door(GatewayOptions(keys="required"), held[0])
    with pytest.raises(Refused) as refused:
        door.expect_short({"Authorization": header}, Scope.RECOMMEND)
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"].startswith("Bearer ")


@given(at=st.integers(0, 68), letter=st.characters(codec="utf-8"))
def test_a_key_of_which_one_letter_is_another_is_none(held: tuple[KeyTable, Made], at: int, letter: str) -> None:
    table, made = held
    text = made.text[:at] + letter + made.text[at + 1 :]
    assert (table.find(text) is not None) is (text == made.text)
    assert table.find(made.text + letter) is None
    assert table.find(made.text[:at]) is None


RAW = st.binary(min_size=0, max_size=120).filter(lambda raw: not set(raw) & set(b"\r\n\x00"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=RAW, kind=st.sampled_from([b"", b"Bearer ", b"bearer  ", b"Basic ", b"Bearer ncs_", b"Digest x,"]))
async def test_authorization_of_any_bytes_is_refused_over_http_and_never_a_500(
    asking: Client, raw: bytes, kind: bytes
) -> None:
    reader, writer = await asyncio.open_connection(asking.host, asking.port)
    head = b"POST /api/stock HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    writer.write(head + b"Connection: close\r\nAuthorization: " + kind + raw + b"\r\n\r\n[]")
    answer = await reader.read()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    assert answer[9:12] in (b"401", b"400"), answer  # 400: bytes that no header may hold


@pytest.fixture
async def asking(start: Start) -> Client:
    return await start(keys="required")


def test_a_key_is_looked_up_by_its_hash_and_compared_in_constant_time() -> None:
    """By construction: no text of a key is held, and what its hash finds is compared by hmac's function alone."""
    made = new_key("one", ["events"], public=False, now_ms=0)
    table = table_of(made)
    assert all(len(digest) == 32 for digest in table._by_digest)
    assert made.text not in repr(vars(table))
    assert made.text[21:] not in repr(vars(table))
    steps = list(dis.get_instructions(KeyTable.find))
    assert [one.argval for one in steps if one.argval in ("digest_of", "get", "compare_digest")] == [
        "digest_of",
        "get",
        "compare_digest",
    ]
    assert [one.argval for one in steps if one.opname == "COMPARE_OP" and one.argval == "=="] == []
    assert key_table.compare_digest is hmac.compare_digest


def test_a_row_that_is_no_key_ends_the_key_that_it_was() -> None:
    made = new_key("one", ["events"], ["https://a.example"], public=True, now_ms=0)
    table = table_of(made)
    assert (len(table), table.origins) == (1, {"https://a.example"})
    with pytest.raises(ValueError, match="expected an API key"):
        table.apply([(int.from_bytes(made.key.row_key, "little"), b"damaged")])
    assert (len(table), table.find(made.text), table.origins) == (0, None, frozenset())
    with pytest.raises(ValueError, match="of row"):
        table.apply([(1, row_of(made))])
    assert table.find(made.text) is None
