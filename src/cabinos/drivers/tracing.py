"""Device that only listens: OpenTelemetry spans, by the GenAI semantic conventions (1.37).

    invoke_agent   one turn of a process: until it ends, or waits for something outside
      chat           one thought
      execute_tool   one call of a tool
      invoke_agent   a turn of a child

Off unless CABIN_TRACE is set: "console" prints spans to stderr; anything else uses the provider
that was configured, as `opentelemetry-instrument` does. What was said is part of spans only if
OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT is "true".
"""

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cabinos.kernel.driver import Driver, Message
from cabinos.kernel.errors import KernelError
from cabinos.kernel.events import Event
from cabinos.kernel.process import Process

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from cabinos.kernel.machine import Machine

__all__ = ["driver"]

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
log = logging.getLogger("cabinos.kernel")


def driver(_config: Mapping[str, Any]) -> Driver | None:
    """The device, or None if nobody wants to trace."""
    exporter = os.environ.get("CABIN_TRACE")
    if not exporter:
        return None
    return Driver("tracing", observe=lambda machine: _Tracing(machine, exporter).close)


class _Tracing:
    """Listens to a kernel's events from now on. Raises KernelError if spans have nowhere to go."""

    def __init__(self, machine: "Machine", exporter: str) -> None:
        try:
            from opentelemetry import trace

            self._tracer = _provider(exporter).get_tracer("cabinos")
        except ImportError:
            raise KernelError("CABIN_TRACE needs pip install 'cabinos[tracing]'") from None
        self._trace = trace
        self._machine = machine
        self._content = os.environ.get(CONTENT, "").lower() == "true"
        self._turns: dict[int, Span] = {}
        self._calls: dict[tuple[int, str], Span] = {}
        machine.events.attach(self)

    def close(self) -> None:
        """Ends every span."""
        self._machine.events.detach(self)
        for span in (*self._calls.values(), *self._turns.values()):
            span.end()

    def put_nowait(self, event: Event) -> None:
        """Takes an event; whatever goes wrong here is no concern of the kernel's."""
        try:
            self._take(event)
        except Exception:
            log.exception("tracing")

    def _take(self, event: Event) -> None:
        pid, data = event.pid, event.data
        if event.kind == "thought":
            self._thought(self._machine.table.get(pid), data)
        elif event.kind == "call":
            attributes = {"gen_ai.tool.name": data["name"], "gen_ai.tool.call.id": data["id"]}
            if self._content:
                attributes["gen_ai.tool.call.arguments"] = json.dumps(data["arguments"])
            parent = self._turn(self._machine.table.get(pid), time.time_ns())
            name = f"execute_tool {data['name']}"
            self._calls[pid, data["id"]] = self._start(name, parent, None, attributes)
        elif event.kind == "result" and (span := self._calls.pop((pid, data["id"]), None)):
            if self._content:
                span.set_attribute("gen_ai.tool.call.result", data["text"])
            self._end(span, "" if data["ok"] else "ToolError")
        elif event.kind in ("state", "exit") and (span := self._turns.pop(pid, None)):
            failed = data.get("status") == "failed" and "Failed"
            self._end(span, data.get("error") or failed or "")

    def _thought(self, process: Process, data: dict[str, Any]) -> None:
        end = time.time_ns()
        start = end - data.get("ms", 0) * 1_000_000
        attributes: dict[str, Any] = {
            "gen_ai.response.model": process.model,
            "gen_ai.response.finish_reasons": (data["finish"],),
            "gen_ai.usage.input_tokens": data.get("in", 0),
            "gen_ai.usage.cache_read.input_tokens": data.get("cached", 0),
            "gen_ai.usage.output_tokens": data.get("out", 0),
        }
        if self._content:
            *asked, answer = self._machine.memory.assemble(process)
            page = self._machine.pages.get(data["page"])
            if page.meta and json.loads(page.meta).get("plan"):  # no part of the conversation
                asked = asked if answer.calls else [*asked, answer]
                answer = Message("assistant", page.text)
            attributes["gen_ai.input.messages"] = json.dumps([_message(m) for m in asked])
            attributes["gen_ai.output.messages"] = json.dumps([_message(answer)])
        parent = self._turn(process, start)
        self._start(f"chat {process.model}", parent, start, attributes).end(end)

    def _turn(self, process: Process, start: int) -> "Span":
        """The turn that a process is in; it begins with its first thought or call."""
        span = self._turns.get(process.pid)
        if span is None:
            attributes = {
                "gen_ai.agent.id": str(process.pid),
                "gen_ai.agent.name": process.image,
                "gen_ai.conversation.id": str(process.root),
            }
            above = self._turns.get(process.parent or 0)
            span = self._start(f"invoke_agent {process.image}", above, start, attributes)
            span.set_attribute("gen_ai.request.model", process.model)
            self._turns[process.pid] = span
        return span

    def _start(
        self, name: str, parent: "Span | None", start: int | None, attributes: dict[str, Any]
    ) -> "Span":
        operation = {
            "gen_ai.operation.name": name.partition(" ")[0],
            "gen_ai.provider.name": "cabin",
        }
        context = None if parent is None else self._trace.set_span_in_context(parent)
        return self._tracer.start_span(
            name, context, attributes={**operation, **attributes}, start_time=start
        )

    def _end(self, span: "Span", error: str) -> None:
        if error:
            span.set_attribute("error.type", error)
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()


def _message(message: Any) -> dict[str, Any]:
    """A message in the shape of the conventions."""
    parts: list[dict[str, Any]] = [{"type": "text", "content": message.text}]
    if message.role == "tool":
        parts = [{"type": "tool_call_response", "id": message.call_id, "response": message.text}]
    for call in message.calls:
        parts.append(
            {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
        )
    return {"role": message.role, "parts": parts}


def _provider(exporter: str) -> "TracerProvider":
    """One that prints, or the one that was configured. Raises KernelError if none was."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    if exporter == "console":
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr)))
        return provider
    configured = trace.get_tracer_provider()
    if not isinstance(configured, TracerProvider):
        raise KernelError(
            "CABIN_TRACE is set, and nobody has said where spans go: run Cabin under "
            "`opentelemetry-instrument`, or set CABIN_TRACE=console."
        )
    return configured
