"""The end of a flow whose last step has already written everything: Bytewax wants an output all the same."""

from __future__ import annotations

from typing import Any

from bytewax.outputs import DynamicSink, StatelessSinkPartition


class QuietSink(DynamicSink[Any]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Quiet:
        return _Quiet()


class _Quiet(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        return
