"""The demo shop's pictures, drawn by its own script."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import orjson
import pytest

from gateway.demo_page import STATIC

NODE = shutil.which("node")
DRAW = """
const { picture } = await import(process.argv[1])
console.log(picture(JSON.parse(process.argv[2])))
"""

pytestmark = pytest.mark.skipif(NODE is None, reason="no node on the path: the script is not run")


def drawn(attributes: Any) -> str:
    item = {"item_id": "p1", "title": "x", "category": "", "attributes": attributes}
    command = [str(NODE), "--input-type=module", "-e", DRAW, (STATIC / "pictures.js").as_uri(), orjson.dumps(item)]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()


def test_a_colour_that_the_page_knows_is_the_pictures() -> None:
    assert "--tint:222;--s:52%;--l:36%" in drawn({"colour": "navy"})


@pytest.mark.parametrize("colour", ["constructor", "toString", "__proto__", "", 7, None, ["navy", 1], {"navy": 1}])
def test_any_other_colour_leaves_the_pictures_own(colour: Any) -> None:
    assert drawn({"colour": colour}) == drawn({})
