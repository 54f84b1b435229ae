"""The examples of docs/collect.md and of its section in docs/your-shop.md: what they send is taken."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.gateway.conftest import Client

DOCS = Path(__file__).parents[2] / "docs"


def examples(page: str) -> list[tuple[str, str, dict[str, str]]]:
    """Return (path, body, headers) of each example that calls an adapter."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL):
        words = shlex.split(block.replace("\\\n", " "))
        address = next((word for word in words if word.startswith("localhost:8080/api/collect/")), None)
        if address is not None:
            said = [words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H"]
            headers = dict(said) or {"Content-Type": "application/x-www-form-urlencoded"}
            found.append((address.removeprefix("localhost:8080"), words[words.index("-d") + 1], headers))
    return found


async def test_every_example_of_an_adapter_is_taken(client: Client) -> None:
    sent = [*examples("collect.md"), *examples("your-shop.md")]
    assert {path.split("/")[3].partition("?")[0] for path, _, _ in sent} == {
        *("ga4", "segment", "snowplow", "cloudevents", "matomo")
    }
    for path, body, headers in sent:
        response = await client.post(path, data=body, headers=headers)
        answer = await response.json()
        assert (response.status, answer["accepted"] + answer["not_kept"], answer["rejected"]) == (202, 1, []), (
            path,
            answer,
        )
        assert answer["not_kept"] == (b"DENIED" in body.encode())
