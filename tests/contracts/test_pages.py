"""Pages that are files: everything stands in their own style and script, and the policy names those alone."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

from contracts.pages import page


def hash_of(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_the_pages_own_style_and_script_alone() -> None:
    made = page(generator="g", title="t", body="<p>b</p>", style="p{color:red}", script="go()")
    assert (
        "default-src 'none'; style-src " + hash_of("p{color:red}") + "; base-uri 'none'; form-action 'none'; "
        "script-src " + hash_of("go()")
    ) in made
    assert "unsafe" not in made
    assert "<script>go()</script></body>" in made


def test_a_page_without_a_script_allows_none() -> None:
    made = page(generator="g", title="t", body="", style="")
    assert "script" not in made


def test_styles_of_elements_go_into_the_style_sheet_once_each() -> None:
    body = '<i style="left:1%"></i><b style="left:2%"></b><u style="left:1%"></u><p title="a style=&quot;x&quot;"></p>'
    made = page(generator="g", title="t", body=body, style="i{}")
    sheet = re.findall("<style>(.*)</style>", made)
    assert sheet == ['i{}[data-s="0"]{left:1%}[data-s="1"]{left:2%}']
    assert '<i data-s="0"></i><b data-s="1"></b><u data-s="0"></u><p title="a style=&quot;x&quot;"></p>' in made
    assert hash_of(sheet[0]) in made


def test_a_title_is_text() -> None:
    assert "<title>&lt;script&gt;</title>" in page(generator="g", title="<script>", body="", style="")
