"""`nextclick import ga4|segment|...`: payloads as they were sent, one a line, by the mapping of the door."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from contracts.errors import ImportFormatError
from contracts.events import Event
from eventlog.files import read_events
from replay.importers import IMPORTERS, Imported, import_log
from tests.connect.payloads import FOLDER, NOON, payload


def run(vendor: str, lines: list[bytes], folder: Path) -> tuple[Imported, list[Event]]:
    source, out = folder / "sent.jsonl", folder / "out.jsonl.zst"
    source.write_bytes(b"\n".join(lines))
    imported = import_log(IMPORTERS[vendor], source, out, may_be_empty=False)
    return imported, list(read_events(out))


def test_rows_of_the_ga4_export_are_imported(tmp_path: Path) -> None:
    imported, events = run("ga4", (FOLDER / "ga4_export.jsonl").read_bytes().splitlines(), tmp_path)
    assert [(one.type, one.item_id, one.ts, one.order_id) for one in events] == [
        ("view", "tent-2", NOON + 123, None),
        ("purchase", "tent-2", NOON + 120_000, "T-1001"),
    ]
    assert imported.broken == 0


@pytest.mark.parametrize(
    ("vendor", "name", "events", "broken"),
    [
        ("ga4", "ga4", 3, 1),
        ("segment", "segment", 3, 1),
        ("snowplow", "snowplow_transaction", 1, 1),
        ("cloudevents", "cloudevents", 3, 2),
        ("matomo", "matomo", 4, 1),
    ],
)
def test_what_the_door_takes_is_imported_and_what_it_refuses_is_named(
    vendor: str, name: str, events: int, broken: int, tmp_path: Path
) -> None:
    imported, found = run(vendor, [orjson.dumps(payload(name)), b"", b"{"], tmp_path)
    assert (len(found), imported.broken) == (events, broken + 1)
    assert [one.line for one in imported.problems] == [1] * broken + [3]
    assert imported.problems[0].column.startswith("/")


def test_a_device_is_believed_as_nothing_says_when_a_line_came(tmp_path: Path) -> None:
    _, events = run("segment", [orjson.dumps(payload("segment"))], tmp_path)
    assert events[0].ts == NOON + 3 * 3_600_000


def test_a_request_of_matomo_may_be_a_line_of_a_log(tmp_path: Path) -> None:
    line = b"/matomo.php?idsite=1&rec=1&_id=0123456789abcdef&_pks=tent-2&cdt=1796126400"
    _, events = run("matomo", [line], tmp_path)
    assert [(one.item_id, one.ts) for one in events] == [("tent-2", NOON)]


def test_a_file_of_nothing_but_pages_says_that_it_has_no_events(tmp_path: Path) -> None:
    with pytest.raises(ImportFormatError, match="expected events, took none"):
        run("segment", [b'{"type":"page","anonymousId":"a"}'], tmp_path)
