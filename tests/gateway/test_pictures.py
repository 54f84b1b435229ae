"""The colours of the demo shop's pictures, by its own script; that they are drawn, a browser shows."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import orjson
import pytest

from gateway.demo_page import STATIC

NODE = shutil.which("node")
DRAW = """
const { coloursOf } = await import(process.argv[1])
console.log(JSON.stringify(coloursOf(JSON.parse(process.argv[2]))))
"""

pytestmark = pytest.mark.skipif(NODE is None, reason="no node on the path: the script is not run")


def drawn(attributes: Any) -> str:
    item = {"item_id": "p1", "title": "x", "category": "", "attributes": attributes}
    command = [str(NODE), "--input-type=module", "-e", DRAW, (STATIC / "pictures.js").as_uri(), orjson.dumps(item)]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()


def test_a_colour_that_the_page_knows_is_the_pictures() -> None:
    found = orjson.loads(drawn({"colour": "navy"}))
    assert (found["--tint"], found["--s"], found["--l"]) == (222, "52%", "36%")


@pytest.mark.parametrize("colour", ["constructor", "toString", "__proto__", "", 7, None, ["navy", 1], {"navy": 1}])
def test_any_other_colour_leaves_the_pictures_own(colour: Any) -> None:
    assert drawn({"colour": colour}) == drawn({})
