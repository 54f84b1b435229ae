"""The demo page's own JSON reader and its asking as one types, run by node; JSON.parse is the reader's oracle."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.demo_page import STATIC

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no node on the path: the scripts are not run")

READ = """
const { parse, lineColumn, rangeOf, NotJson } = await import(process.argv[1])
const { createInterface } = await import('node:readline')
const { isDeepStrictEqual } = await import('node:util')
for await (const line of createInterface({ input: process.stdin })) {
  const { text, error } = JSON.parse(line)
  let told
  let oracle
  try { oracle = { value: JSON.parse(text) } } catch { oracle = null }
  try {
    const { value, places, twice } = parse(text)
    const within = ([pointer, { start, end }]) =>
      isDeepStrictEqual(JSON.parse(text.slice(start, end)), valueAt(value, pointer))
    const agrees = oracle !== null && isDeepStrictEqual(value, oracle.value)
    told = { agrees, placed: [...places].every(within) }
    if (twice.length) told = twice.map((one) => ({ ...one, ...lineColumn(text, one.range[0]) }))
    if (error) {
      const [start, end] = rangeOf(places, value, error)
      told = { ...lineColumn(text, start), marked: text.slice(start, end) }
    }
  } catch (failed) {
    if (!(failed instanceof NotJson)) throw failed
    told = { agrees: oracle === null, placed: true, ...lineColumn(text, failed.offset), detail: failed.message }
  }
  console.log(JSON.stringify(told))
}
function valueAt(value, pointer) {
  return pointer.split('/').slice(1).reduce((at, part) => at[part.replaceAll('~1', '/').replaceAll('~0', '~')], value)
}
"""
Read = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def read() -> Iterator[Read]:
    command = [str(NODE), "--input-type=module", "-e", READ, (STATIC / "places.js").as_uri()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None

        def ask(text: str, **error: str) -> dict[str, Any]:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write(json.dumps({"text": text, "error": error or None}) + "\n")
            reader.stdin.flush()
            told: dict[str, Any] = json.loads(reader.stdout.readline())
            return told

        yield ask
        reader.stdin.close()


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(document=DOCUMENTS, indent=st.sampled_from([None, 0, 2]), plain=st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_value_of_a_document_stands_where_the_reader_says(
    read: Read, document: Any, indent: int | None, plain: bool
) -> None:
    told = read(json.dumps(document, indent=indent, ensure_ascii=plain))
    assert (told["agrees"], told["placed"]) == (True, True)


@given(text=st.text(alphabet='{}[]",:\\ue0123456789-+.truefalsn \n\t', max_size=14))
@settings(deadline=None, max_examples=400)
def test_the_reader_takes_what_the_browsers_parser_takes_and_nothing_else(read: Read, text: str) -> None:
    assert read(text)["agrees"] is True


@pytest.mark.parametrize(
    ("text", "line", "column", "detail"),
    [
        ("", 1, 1, "expected a value, got the end"),
        ('{\n  "filter": "price < 5",,\n}', 2, 25, 'expected a name in double quotes, got ","'),
        ('{"diversity": 0,3}', 1, 17, 'expected a number with a point, not a comma, got "3"'),
        ('{\n  "limits": [1 2]\n}', 2, 16, 'expected a comma or ], got "2"'),
        ('{"a" 1}', 1, 6, 'expected a colon, got "1"'),
        ('{"a": "x\n"}', 1, 9, 'expected a closing double quote, got "\\n"'),
        ("[" * 100, 1, 62, 'expected at most 60 levels, got "["'),
    ],
)
def test_what_is_no_json_is_told_with_its_place(read: Read, text: str, line: int, column: int, detail: str) -> None:
    told = read(text)
    assert (told["line"], told["column"], told["detail"]) == (line, column, detail)


def test_a_name_that_an_object_gives_twice_is_told_with_its_place(read: Read) -> None:
    told: Any = read('{"a": 1, "b": [{"c/d": 1, "c/d": 2}],\n "\\u0061": 2}')
    assert [(one["line"], one["column"], one["pointer"], one["detail"]) for one in told] == [
        (1, 27, "/b/0/c~1d", 'expected "c/d" once in its object'),
        (2, 2, "/a", 'expected "a" once in its object'),
    ]


SCENARIO = '{\n  "filter": "brand == \\"A\\" and colour == 3",\n  "value": {"match": "x"},\n  "odd": 1\n}'


@pytest.mark.parametrize(
    ("pointer", "detail", "line", "column", "marked"),
    [
        ("/filter", "line 1, column 18: no field is called colour", 2, 33, "colour == 3"),
        ("/value/Value/match", "Input should be a valid number", 3, 22, '"x"'),
        ("/odd", "Extra inputs are not permitted", 4, 3, '"odd"'),
        ("", "Value error", 1, 1, SCENARIO),
    ],
)
def test_an_error_of_the_gateway_is_found_in_the_text(
    read: Read, pointer: str, detail: str, line: int, column: int, marked: str
) -> None:
    told = read(SCENARIO, pointer=pointer, detail=detail)
    assert told == {"line": line, "column": column, "marked": marked}


TYPE = """
const { Latest } = await import(process.argv[1])
const pause = (ms) => new Promise((done) => setTimeout(done, ms))
const asked = [], shown = [], failed = []
let running = 0, most = 0, broken = false
const latest = new Latest({
  pauseMs: 10, shown: (answer) => shown.push(answer), failed: (error) => failed.push(error.message),
  ask: async (question) => {
    asked.push(question)
    most = Math.max(most, ++running)
    await pause(60)
    running--
    if (broken) throw new Error('broken')
    return `answer to ${question}`
  },
})
for (const letter of ['a', 'ab', 'abc']) latest.want(letter)
await pause(30)
latest.want('abcd')
await pause(20)
latest.want('abcde')
await pause(200)
latest.want('abcde')
await pause(100)
broken = true
latest.want('x')
await pause(100)
broken = false
latest.want('x')
await pause(100)
latest.want('dropped')
latest.drop()
await pause(50)
console.log(JSON.stringify({ asked, shown, failed, most }))
"""


def test_typing_asks_one_question_at_a_time_and_nothing_that_was_answered() -> None:
    command = [str(NODE), "--input-type=module", "-e", TYPE, (STATIC / "latest.js").as_uri()]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    assert told["asked"] == ["abc", "abcde", "x", "x"]
    assert told["shown"] == ["answer to abcde", "answer to abcde", "answer to x"]  # asked once, shown twice
    assert (told["failed"], told["most"]) == (["broken"], 1)
