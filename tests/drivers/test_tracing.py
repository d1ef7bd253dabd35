"""Spans of processes, thoughts and calls."""

import asyncio
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cabinos.drivers.tracing import driver
from cabinos.kernel.driver import tool
from cabinos.kernel.errors import KernelError, ModelError
from cabinos.kernel.kernel import Kernel
from tests.kernel.models import ScriptedModel, calls

SECRET = "what was said"


@tool(effect="pure", label="trusted")
async def double(n: int) -> int:
    """Doubles a number."""
    return 2 * n


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What is exported; every test has a provider of its own."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setenv("CABIN_TRACE", "1")
    return exporter


def run(path: Path, model: ScriptedModel) -> None:
    async def main() -> None:
        tracing = driver({})
        assert tracing is not None
        kernel = Kernel.open(path / "k.db", drivers=[tracing], tools=[double], models=[model])
        async with kernel as k:
            process = await k.spawn(SECRET)
            with suppress(KernelError):
                await process.result()

    asyncio.run(main())


def tree(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    found = {span.name: span for span in exporter.get_finished_spans()}
    turn = found["invoke_agent chat"]
    assert turn.parent is None
    for span in found.values():
        assert span is turn or span.parent.span_id == turn.context.span_id
        assert turn.start_time <= span.start_time <= span.end_time <= turn.end_time
    return found


def test_a_turn_with_its_thoughts_and_calls(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    run(tmp_path, ScriptedModel(calls(("double", {"n": 4})), "8", latency=0.01))
    found = tree(spans)
    assert set(found) == {"invoke_agent chat", "chat scripted", "execute_tool double"}
    assert len(spans.get_finished_spans()) == 4  # two thoughts
    thought = found["chat scripted"].attributes
    assert thought["gen_ai.operation.name"] == "chat"
    assert thought["gen_ai.response.finish_reasons"] == ("stop",)
    assert thought["gen_ai.usage.output_tokens"] == 1
    assert thought["gen_ai.usage.input_tokens"] > 0
    call = found["execute_tool double"].attributes
    assert (call["gen_ai.tool.name"], call["gen_ai.tool.call.id"]) == ("double", "c1-0")
    assert found["invoke_agent chat"].attributes["gen_ai.agent.id"] == "1"
    said = json.dumps([dict(span.attributes) for span in found.values()])
    assert SECRET not in said
    assert '"n"' not in said


def test_what_was_said_only_if_it_is_asked_for(
    spans: InMemorySpanExporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    run(tmp_path, ScriptedModel(calls(("double", {"n": 4})), "8"))
    found = tree(spans)
    thought = found["chat scripted"].attributes
    asked = json.loads(thought["gen_ai.input.messages"])
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "tool"]
    assert asked[1]["parts"] == [{"type": "text", "content": SECRET}]
    assert asked[3]["parts"][0]["response"] == "8"
    (answer,) = json.loads(thought["gen_ai.output.messages"])
    assert answer["parts"] == [{"type": "text", "content": "8"}]
    call = found["execute_tool double"].attributes
    assert json.loads(call["gen_ai.tool.call.arguments"]) == {"n": 4}
    assert call["gen_ai.tool.call.result"] == "8"


def test_failures_are_marked(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    bad = calls(("double", {"n": 1}))
    run(tmp_path, ScriptedModel(bad, ModelError("no power")))
    turn = tree(spans)["invoke_agent chat"]
    assert turn.attributes["error.type"] == "ModelError"
    assert not turn.status.is_ok


def test_nothing_is_imported_when_it_is_off(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from cabinos.kernel.kernel import Kernel
async def main():
    async with Kernel.open({str(tmp_path / "k.db")!r}, drivers=[]) as k:
        assert k.ps() == []
asyncio.run(main())
assert not any(name.startswith("opentelemetry") for name in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_spans_must_have_somewhere_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    monkeypatch.setenv("CABIN_TRACE", "1")
    with pytest.raises(KernelError, match="opentelemetry-instrument"):
        run(tmp_path, ScriptedModel("x"))
    monkeypatch.setenv("CABIN_TRACE", "console")
    run(tmp_path, ScriptedModel("x"))
    assert '"name": "chat scripted"' in capsys.readouterr().err
