"""Calls of tools: check, intent, effect, result.

    arguments → policy → (a person) → commit the intent → act → the result, one commit

A call whose intent is committed and whose result is not was under way when the machine died. What
is done about it then depends on the tool's effect class alone:

    pure, local   done again
    keyed         done again with the same key
    raw           never done again by itself: the tool's own check, or a person, decides
"""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cabinos.kernel import budget
from cabinos.kernel.driver import Context, Labelled, Tool
from cabinos.kernel.errors import (
    BudgetExceeded,
    Denied,
    InvalidArguments,
    KernelError,
    ModelError,
    ToolError,
)
from cabinos.kernel.monitor import decide, origins, source, spent
from cabinos.kernel.outcome import Blocked, Outcome, Record
from cabinos.kernel.policy import Verdict
from cabinos.kernel.process import Process
from cabinos.store.errors import StoreError

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine

__all__ = ["approval", "binding", "call_tool", "run_tool"]

TIMEOUT = 600.0  # seconds a tool may take before the kernel gives it up
FATAL = (BudgetExceeded, ModelError)  # end the process's work; every other error is a result


def fault(point: str) -> None:
    """Called at the four points where a crash matters: a test may put a crash in its place.

    "before intent", "after intent", "after effect", "before result".
    """


def binding(pid: int, call: str, tool: str, arguments: Mapping[str, Any]) -> bytes:
    """What an approval is bound to: SHA-256 of process, call, tool and arguments."""
    text = json.dumps([pid, call, tool, arguments], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


async def call_tool(m: "Machine", process: Process, call: str, record: Record) -> Outcome | Blocked:
    """One tool call, from its beginning or from wherever it was interrupted."""
    tool = m.tools.get(record["n"])
    if record.get("s") == "sent" and (tool is None or tool.effect == "raw"):
        settled = await _in_doubt(m, process, call, record, tool)
        if settled is not None:
            return settled
    if tool is None:
        allowed = filter(process.capabilities.allows_tool, m.tools)
        known = ", ".join(sorted(allowed)) or "none"
        raise Denied(f"there is no tool {record['n'][:80]!r}. There are: {known}.")
    given = record["a"]
    if given is None:
        raise InvalidArguments(f"{tool.name}: the arguments were not a JSON object.")
    arguments = tool.arguments(given)
    if record.get("s") != "sent":
        told: Mapping[str, str] = {}
        if "ask" in record:  # a refusal of another call does not answer this question
            verdict = Verdict.from_json(record["checked"])
        else:
            verdict, request = decide(m, process, call, record, tool)
            told = origins(m, process, request) if verdict.action == "ask" else {}
        if verdict.action == "ask":
            waits = approval(m, process, call, record, tool, verdict.reason, told)
            if waits is not None:
                return waits
        spent(m, process, verdict)
    elif not process.capabilities.allows_tool(tool.name):
        raise Denied(f"denied: this process was not given the tool {tool.name!r}.")
    outcome = await _act(m, process, call, record, tool, arguments)
    if outcome.label == "untrusted":
        outcome.sources = frozenset((source(tool, given),))
    if tool.needs in ("files", "shell"):
        path = given.get("path") if tool.needs == "files" else ""
        if process.capabilities.holds_private(path if isinstance(path, str) else ""):
            outcome.readers = frozenset()
    return outcome


async def _act(
    m: "Machine", process: Process, call: str, record: Record, tool: Tool, arguments: dict[str, Any]
) -> Outcome:
    context = _context(m, process, call)
    outside = tool.effect in ("keyed", "raw")
    record["s"] = "sent"
    m.events.emit(process.pid, "call", id=call, name=tool.name, arguments=record["a"])
    left, began = budget.require_time(process.accounts()), time.monotonic()
    limit = TIMEOUT if left is None else min(TIMEOUT, left)
    try:
        with m.acting(process.pid, outside, limit):  # a stop now would leave a doubt
            if outside:
                fault("before intent")
                m.journal.append(
                    process.pid,
                    "intent",
                    call=call,
                    tool=tool.name,
                    key=context.key,
                    arguments=record["a"],
                )
                m.store.save(process)
                await m.store.commit()
                fault("after intent")
            outcome = await run_tool(tool, context, arguments)
    except FATAL:
        raise
    except KernelError as error:  # it was broken off
        return Outcome(str(error), ok=False, label=tool.label)
    finally:
        if left is not None:
            budget.settle(process.accounts(), (0, 0), (0, 0), time.monotonic() - began)
            m.save_lineage(process)
    if outside and outcome.ok:
        fault("after effect")
    return outcome


async def run_tool(tool: Tool, context: Context, arguments: Mapping[str, Any]) -> Outcome:
    """What a tool returns, or why it failed, for arguments that were checked.

    Raises StoreError and what ends a process's work; every other error is an outcome.
    """
    try:
        value = await tool.run(context, **arguments)
        label, readers = tool.label, None
        if isinstance(value, Labelled):
            value, label, readers = value.value, value.label, value.readers
        return Outcome(_plain(value), label=label, readers=readers)
    except (StoreError, *FATAL):
        raise
    except KernelError as error:
        readers = error.readers if isinstance(error, ToolError) else None
        return Outcome(str(error), ok=False, label=tool.label, readers=readers)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a tool is anybody's code
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Outcome(f"{tool.name} failed: {reason}.", ok=False, label=tool.label)


def _context(m: "Machine", process: Process, call: str) -> Context:
    """What the tool is told; the key is the same however often the call is made."""
    key = f"{m.id}-{process.pid}-{process.step}-{call}"
    model, readers = m.models.get(process.model), process.guard.readers
    seen = frozenset() if model is None or model.local else frozenset((model.name,))
    return Context(
        process.pid,
        key,
        process.capabilities,
        m.store,
        process.label,
        seen if readers is None else seen & readers,
    )


def _plain(value: Any) -> Any:
    """The value as JSON holds it; raises ValueError or TypeError if it cannot."""
    return value if isinstance(value, str) else json.loads(json.dumps(value, default=str))


def approval(
    m: "Machine",
    process: Process,
    call: str,
    record: Record,
    tool: Tool,
    reason: str,
    told: Mapping[str, str],
) -> Blocked | None:
    """None if a person approved this very call; Denied is raised if one said no.

    `told`: where its arguments come from, in words for the person.
    """
    arguments = record["a"] or {}
    bound = binding(process.pid, call, tool.name, arguments)
    answer = record.get("answer")
    if answer is not None:
        if answer == "approved" and record.get("bound") == bound.hex():
            del record["answer"]  # spent
            return None
        raise Denied("a person refused this call. Do not try it again; say what you need instead.")
    if "ask" not in record:
        question = f"Allow {tool.name}? Because {reason}."
        detail: dict[str, Any] = {"tool": tool.name, "arguments": arguments}
        detail["label"] = process.label
        detail["origins"] = dict(told)
        record["bound"] = bound.hex()
        record["ask"] = m.ask(process, call, "approval", bound, question, detail)
    return Blocked(f"approval of {tool.name}")


async def _in_doubt(
    m: "Machine", process: Process, call: str, record: Record, tool: Tool | None
) -> Outcome | Blocked | None:
    """What is known of a call that was under way, and is raw or whose tool is not there any more.

    None: it did not happen, do it now.
    """
    name, arguments, answer = record["n"], record["a"], record.pop("answer", None)
    if answer is None and tool is not None and tool.check is not None:
        context = _context(m, process, call)
        try:
            with m.acting(process.pid, False, TIMEOUT):
                found = await tool.check(context, **tool.arguments(arguments))
            answer = {"happened": "happened", "did not happen": "again"}.get(found)
        except Exception:  # noqa: BLE001 - a check that fails has found nothing out
            answer = None
    if answer is not None:
        m.journal.append(process.pid, "resolved", call=call, answer=answer)
    if answer == "again":
        record.pop("doubt", None)  # spent: interrupted once more, it is asked once more
        return None
    if answer == "happened":
        return Outcome("It was done before an interruption; its output is lost.")
    if answer == "failed":
        return Outcome("It was interrupted and is not to be repeated.", ok=False)
    if "doubt" not in record:
        bound = binding(process.pid, call, name, arguments)
        question = f"{name} was interrupted: nobody knows whether it happened."
        detail = {"tool": name, "arguments": arguments}
        record["doubt"] = m.ask(process, call, "doubt", bound, question, detail)
        m.journal.append(process.pid, "doubt", call=call, tool=name)
    return Blocked(f"{name} may or may not have happened", doubt=True)
