"""Handing over: a process whose brain is too small for a request gives it to a larger one.

The larger brain goes on over the same pages, with all the tools, and stays. Where it is not on this
machine, what the process has read and may read goes out with the conversation: a person decides.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from cabinos.kernel.births import SYSTEM, instructions, said
from cabinos.kernel.call import approval
from cabinos.kernel.errors import Denied
from cabinos.kernel.monitor import decide
from cabinos.kernel.outcome import Blocked, Outcome, Record
from cabinos.kernel.private import held_back, named, release
from cabinos.kernel.process import Process

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine

__all__ = ["escalate", "hand_over"]


async def escalate(m: "Machine", process: Process, call: str, record: Record) -> Outcome | Blocked:
    """The syscall: from the next thought on, the process's model is the larger one."""
    target = m.larger(process)
    if target is None:
        raise Denied("there is no larger model to hand over to; say what you cannot do.")
    tool = replace(m.syscall_tools["escalate"], egress=not target.local)
    record["a"] = record["a"] or {}
    verdict, _ = decide(m, process, call, record, tool)
    held = held_back(m, process, target)
    why = verdict.reason if verdict.action == "ask" else _exposed(m, process)
    if held:
        why = f"there is what is private: {', '.join(named(held))}"
    if tool.egress and why:
        reason = f"{target.name} is not on this machine, and {why}"
        waits = approval(m, process, call, record, tool, reason, {})
        if waits is not None:
            return waits
    if held:
        release(m, process, target, held)
    hand_over(m, process, target.name)
    return Outcome(f"handed over to {target.name}, which goes on from here.")


def _exposed(m: "Machine", process: Process) -> str:
    """What of the person's own may stand in the pages, or come into them; "" if nothing."""
    if process.capabilities.files:
        return "the process may read files"
    read = any(m.pages.get(page_id).role == "tool" for page_id in process.pages.ids())
    return "the process has read what tools returned" if read else ""


def hand_over(m: "Machine", process: Process, name: str) -> None:
    """Gives a process another model, with the instructions that this one needs. Staged."""
    process.model = m.model(name).name
    first = next((m.pages.get(page_id) for page_id, *_ in process.pages), None)
    if first is not None and first.role == "system" and first.text in ("", SYSTEM):
        text = instructions(m, process, said(m, process, first=False))
        page = m.pages.put("system", text, tokens=m.count(process, text))
        m.memory.instruct(process, page)
    m.journal.append(process.pid, "model", model=name)
