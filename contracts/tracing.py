"""Traces by OpenTelemetry, sent as OTLP over HTTP; off unless `tracing.endpoint` is set. Its library is loaded then.

A request is one trace, its stages are spans below it. An event in the log is a trace of its own, whose ids follow from
the event's place there: gateway and flow find the same without a byte in the record.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from random import random
from typing import TYPE_CHECKING, Any, Final

from contracts.errors import SettingsError
from contracts.logs import TRACE
from contracts.observed import TracingOptions

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_HALF: Final = 1 << 64
_US: Final = 1000
_SERVER_ERROR: Final = 500
_PARENT: Final = "traceparent"


class Tracer:
    """Makes the spans of one process."""

    def __init__(self, process: str, options: TracingOptions) -> None:
        """Raises SettingsError where the library is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise SettingsError(
                f"NEXTCLICK_TRACING__ENDPOINT: expected OpenTelemetry to be installed, got {error}: "
                "`pip install 'nextclick[otel]'`, or leave it empty"
            ) from error
        by_share = TraceIdRatioBased(options.share)
        self._ids = _given_ids()
        self._provider = TracerProvider(
            # who calls cannot have everything traced by saying that it is; what has no parent was drawn here
            sampler=ParentBased(ALWAYS_ON, remote_parent_sampled=by_share),
            resource=Resource.create({"service.name": f"nextclick-{process}"}),
            id_generator=self._ids,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=options.endpoint)))
        self._tracer = self._provider.get_tracer("nextclick")
        self._share, self._below = options.share, round(options.share * _HALF)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """Trace a request while the body lasts, below the caller's span where its headers name one (`traceparent`)."""
        from opentelemetry.trace import INVALID_SPAN, SpanKind

        if _PARENT not in headers and random() >= self._share:  # cheaper than a span that is thrown away
            here = _HERE.set((self, INVALID_SPAN))
            try:
                yield INVALID_SPAN
            finally:
                _HERE.reset(here)
            return
        parent = self._propagator.extract({name.lower(): value for name, value in headers.items()})
        span = self._tracer.start_span(name, context=parent, kind=SpanKind.SERVER)
        place = span.get_span_context()
        here = _HERE.set((self, span))
        logged = TRACE.set((f"{place.trace_id:032x}", f"{place.span_id:016x}"))
        try:
            yield span
        finally:
            TRACE.reset(logged)
            _HERE.reset(here)
            span.end()

    def answered(self, span: Span, route: str, status: int, request_id: str) -> None:
        """Say what a request was and what came of it. route: method and path as the API names it, with no id in it."""
        from opentelemetry.trace import StatusCode

        if not span.is_recording():
            return
        method, _, path = route.partition(" ")
        span.update_name(route)
        span.set_attributes({"http.request.method": method, "http.route": path})
        span.set_attributes({"http.response.status_code": status, "nextclick.request_id": request_id})
        if status >= _SERVER_ERROR:
            span.set_status(StatusCode.ERROR)

    def stages(self, span: Span, timings_us: Mapping[str, int]) -> None:
        """Trace the stages of a recommendation that was just made: the session view at its begin, the others one behind
        the other at its end. What is between waited for its batch.
        """
        from opentelemetry.trace import set_span_in_context

        ended_ns = time.time_ns()
        below = set_span_in_context(span)
        spans = {name: took_us for name, took_us in timings_us.items() if name != "total"}
        first_us = spans.pop("session_view", 0)
        at_ns = ended_ns - timings_us.get("total", 0) * _US
        self._add("session_view", below, at_ns, at_ns + first_us * _US)
        at_ns = ended_ns - sum(spans.values()) * _US
        for name, took_us in spans.items():
            self._add(name, below, at_ns, at_ns + took_us * _US)
            at_ns += took_us * _US

    def appended(self, span: Span, topic: str, partition: int, offset: int, began_ns: int) -> None:
        """Begin the trace of an event that is in the log now, linked with its request's."""
        from opentelemetry.context import Context
        from opentelemetry.trace import Link, SpanKind

        trace_id, span_id = ids_of(topic, partition, offset)
        if not self._is_traced(trace_id):
            return
        self._ids.given = (trace_id, span_id)
        links = [Link(span.get_span_context())] if span.is_recording() else []
        began = self._tracer.start_span(
            "append", context=Context(), kind=SpanKind.PRODUCER, links=links, start_time=began_ns
        )
        began.set_attributes(_place(topic, partition, offset))
        began.end()

    def applied(self, name: str, topic: str, partition: int, offsets: Iterable[int], began_ns: int) -> None:
        """Trace what became of events of the log: from `began_ns` until now, below the span that appended them."""
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

        ended_ns = time.time_ns()
        for offset in offsets:
            trace_id, span_id = ids_of(topic, partition, offset)
            if self._is_traced(trace_id):
                appended = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
                below = set_span_in_context(NonRecordingSpan(appended))
                self._add(name, below, began_ns, ended_ns, _place(topic, partition, offset))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _is_traced(self, trace_id: int) -> bool:
        return trace_id % _HALF < self._below

    def _add(
        self, name: str, below: Any, began_ns: int, ended_ns: int, about: Mapping[str, str | int] | None = None
    ) -> None:
        span = self._tracer.start_span(name, context=below, start_time=began_ns, attributes=dict(about or {}))
        span.end(end_time=ended_ns)


def tracer_of(process: str, options: TracingOptions) -> Tracer | None:
    """Return what traces this process, None where nothing is traced. Raises SettingsError."""
    return Tracer(process, options) if options.endpoint else None


def trace_stages(timings_us: Mapping[str, int]) -> None:
    """Trace the stages of the request that this task is in, if it is traced."""
    if (here := _HERE.get()) is not None and here[1].is_recording():
        here[0].stages(here[1], timings_us)


def trace_appended(topic: str, partition: int, offset: int, began_ns: int) -> None:
    """Trace an event that the request which this task is in has put into the log."""
    if (here := _HERE.get()) is not None:
        here[0].appended(here[1], topic, partition, offset, began_ns)


def ids_of(topic: str, partition: int, offset: int) -> tuple[int, int]:
    """Return the trace and the first span of an event, by its place in the log."""
    drawn = blake2b(f"{topic}:{partition}:{offset}".encode(), digest_size=24).digest()
    return int.from_bytes(drawn[:16]) or 1, int.from_bytes(drawn[16:]) or 1


def _place(topic: str, partition: int, offset: int) -> dict[str, str | int]:
    return {
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": offset,
    }


def _given_ids() -> Any:
    """Return a generator of ids that gives those of an event to the next span, where there are any."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        given: tuple[int, int] | None = None

        def generate_trace_id(self) -> int:
            return super().generate_trace_id() if self.given is None else self.given[0]

        def generate_span_id(self) -> int:
            given, self.given = self.given, None
            return super().generate_span_id() if given is None else given[1]

    return Ids()


_HERE: Final[ContextVar[tuple[Tracer, Span] | None]] = ContextVar("here", default=None)
