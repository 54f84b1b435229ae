"""Traces, sent to a real receiver of OTLP over HTTP: a request through its stages, an event through its flow."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from contracts.logs import TRACE, JsonFormatter
from contracts.observed import LogsOptions, TracingOptions
from contracts.settings import RedisSettings
from contracts.tracing import Tracer, ids_of, tracer_of
from eventlog.contract import Batch, Message, Topic
from flows.sessions import trace_applied
from gateway.keys import RECOMMENDER
from gateway.question import Question
from tests.gateway.conftest import event
from tests.gateway.test_front import opened, request

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Receiver:
    """Takes spans, as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sent = ExportTraceServiceRequest.FromString(body)
                for resource in sent.resource_spans:
                    names = {one.key: one.value.string_value for one in resource.resource.attributes}
                    receiver.services.add(names["service.name"])
                    for scope in resource.scope_spans:
                        receiver.spans.extend(scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1/traces"

    def named(self, name: str) -> Span:
        """Return the one span of a name."""
        [found] = [span for span in self.spans if span.name == name]
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def attributes(span: Span) -> dict[str, str | int]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


async def test_a_request_is_a_trace_below_its_callers_with_a_span_for_each_stage(
    redis_settings: RedisSettings, receiver: Receiver
) -> None:
    tracing = TracingOptions(endpoint=receiver.endpoint, share=1)
    async with opened(redis_settings, tracing=tracing) as house:
        caller = await house.caller()
        status, _, answer = await caller.ask(request(b'{"session_id":"s1"}', f"traceparent: {CALLER}"))
        assert status == 200
    whole = receiver.named("POST /api/recommendations/{scenario}")
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == tuple(CALLER.split("-")[1:3])
    assert attributes(whole) == {
        "http.request.method": "POST",
        "http.route": "/api/recommendations/{scenario}",
        "http.response.status_code": 200,
        "nextclick.request_id": answer["request_id"],
    }
    stages = {span.name: span for span in receiver.spans if span.parent_span_id == whole.span_id}
    assert set(stages) == set(answer["timings_us"]) - {"total"}
    for name, stage in stages.items():
        took_us = (stage.end_time_unix_nano - stage.start_time_unix_nano) / 1000
        assert took_us == pytest.approx(answer["timings_us"][name], abs=1)
    assert receiver.services == {"nextclick-gateway"}


async def test_an_event_is_a_trace_of_its_own_that_its_flow_goes_on_with(
    redis_settings: RedisSettings, receiver: Receiver
) -> None:
    tracing = TracingOptions(endpoint=receiver.endpoint, share=1)
    async with opened(redis_settings, tracing=tracing) as house:
        caller = await house.caller()
        body = orjson.dumps(event("s1", "a"))
        head = f"POST /api/events HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        status, _, answer = await caller.ask(head + body)
        assert status == 202, answer
    partition, offset = (int(part) for part in answer["token"].removeprefix("p").split(":"))
    batch = Batch(Topic.CLICKS, partition, offset, offset + 1, [Message(offset, body)])
    flow = tracer_of("sessions", tracing)
    assert flow is not None
    trace_applied(flow, [batch, batch], [None, None], time.time_ns())
    flow.close()
    asked, appended = receiver.named("POST /api/events"), receiver.named("append")
    applied = [span for span in receiver.spans if span.name == "apply to session"]
    assert len(applied) == 2
    assert {span.trace_id for span in applied} == {appended.trace_id}
    assert {span.parent_span_id for span in applied} == {appended.span_id}
    assert [link.span_id for link in appended.links] == [asked.span_id]
    assert appended.trace_id != asked.trace_id
    assert not appended.parent_span_id
    assert receiver.services == {"nextclick-gateway", "nextclick-sessions"}


def test_a_share_is_drawn_by_place_so_that_gateway_and_flow_trace_the_same_events(receiver: Receiver) -> None:
    tracer = Tracer("gateway", TracingOptions(endpoint=receiver.endpoint, share=0.25))
    with tracer.request("POST", {"traceparent": CALLER.replace("8448eb211c80319c", "f" * 16)}) as span:
        assert not span.is_recording()  # what a caller says is not all that counts
        for offset in range(400):
            tracer.appended(span, "clicks", 3, offset, time.time_ns())
    tracer.applied("apply", "clicks", 3, range(400), time.time_ns())
    tracer.close()
    appended, applied = (
        {span.trace_id for span in receiver.spans if span.name == name} for name in ("append", "apply")
    )
    assert appended == applied
    assert 60 < len(appended) < 140
    assert appended <= {ids_of("clicks", 3, offset)[0].to_bytes(16) for offset in range(400)}


def test_of_requests_without_a_caller_that_traces_a_share_is_drawn(receiver: Receiver) -> None:
    for share, recorded in ((0.0, {False}), (0.5, {False, True}), (1.0, {True})):
        tracer = Tracer("gateway", TracingOptions(endpoint=receiver.endpoint, share=share))
        found = set()
        for _ in range(200):
            with tracer.request("GET", {}) as span:
                found.add(span.is_recording())
        tracer.close()
        assert found == recorded


def test_nothing_is_traced_unless_somebody_says_where_to() -> None:
    assert tracer_of("gateway", TracingOptions()) is None


def test_lines_of_a_traced_request_name_its_trace(receiver: Receiver) -> None:
    tracer = Tracer("gateway", TracingOptions(endpoint=receiver.endpoint, share=1))
    with tracer.request("GET", {}) as span:
        assert TRACE.get()[0] == f"{span.get_span_context().trace_id:032x}"
    assert TRACE.get() == ("", "")
    tracer.close()


async def test_with_json_logs_every_line_of_a_request_has_the_id_of_its_answer(redis_settings: RedisSettings) -> None:
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    kept = Kept()
    kept.setFormatter(JsonFormatter("gateway"))
    log = logging.getLogger("nextclick.gateway")
    log.addHandler(kept)
    try:
        async with opened(redis_settings, logs=LogsOptions(format="json")) as house:
            recommender, caller = house.app[RECOMMENDER], await house.caller()
            answered = recommender.answer

            async def answer(question: Question) -> dict[str, Any]:
                log.warning("asked")
                return await answered(question)

            recommender.answer = answer  # type: ignore[assignment, method-assign]
            answers = [(await caller.ask(request()))[2] for _ in range(2)]
    finally:
        log.removeHandler(kept)
    named = [said["request_id"] for said in map(orjson.loads, lines) if said["message"] == "asked"]
    assert named == [answer["request_id"] for answer in answers]
    assert len(set(named)) == 2
