"""A table of an experiment's units: read, compared, and a decision in one sentence."""

from __future__ import annotations

from contracts.errors import ImportFormatError
from experiments.asked import Asked, Metric
from experiments.decision import decision
from experiments.report import by_segment, report
from experiments.tables import read_table
from tests.fuzz.files import written
from tests.fuzz.target import Target

ASKED = Asked(
    (Metric.of("clicks/pages", past="before/pages"), Metric.of("clicks", cap_share=0.9)), frozenset({"clicks"})
)
ROWS = b"variant,device,clicks,pages,before\nA,phone,1,2,0\nB,desk,0,1,\nA,desk,3,4,1.5\nB,phone,2,9,2\n"


def check(raw: bytes) -> None:
    path = written("units.csv", raw)
    table = read_table(path, numbers=["clicks", "pages", "before"], texts=["variant", "device"])
    assert decision(report(table, "variant", ASKED)).endswith(".")
    for part in by_segment(table, "variant", "device", ASKED).values():
        assert decision(part).endswith(".")


TARGET = Target(
    check,
    {"rows": ROWS},
    code=("experiments.tables", "experiments.report", "experiments.effects", "experiments.decision"),
    refusals=(ImportFormatError,),
    words=(b",", b"\n", b'"', b"A", b"nan", b"-1", b"1e308", b";"),
)
