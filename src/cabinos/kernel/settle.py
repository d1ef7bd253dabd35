"""The pending calls of a process: made together, settled by id, each outcome kept as it comes."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cabinos.kernel import call as calls
from cabinos.kernel.errors import InvalidArguments, KernelError
from cabinos.kernel.image import Result, Syscall
from cabinos.kernel.memory import readers_of
from cabinos.kernel.outcome import Blocked, Outcome, Record
from cabinos.kernel.process import Process
from cabinos.kernel.syscall import SYSCALLS
from cabinos.store.pages import Pages

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine

__all__ = ["as_text", "pending_calls", "settle", "value_of"]

INLINE = 1000  # characters of a result that are kept in the row; a longer one becomes a page


def pending_calls(syscall: Syscall) -> dict[str, Any]:
    """Calls that are to be made, as they stand in the process's row."""
    records: dict[str, Record] = {
        id_: {"n": call.name, "a": call.arguments} for id_, call in syscall.calls.items()
    }
    for id_, call in syscall.calls.items():
        if call.facts:
            records[id_]["v"] = call.facts
    return {"calls": records, "paged": syscall.paged}


async def settle(m: "Machine", process: Process) -> Mapping[str, Result] | None:
    """Makes the calls that have not settled; None if some wait for something outside."""
    records: dict[str, Record] = process.pending["calls"]
    todo = [(call, record) for call, record in records.items() if record.get("s") != "done"]
    values: dict[str, Any] = {}
    if len(todo) == 1:
        await _make(m, process, *todo[0], values)
    elif todo:
        running = [_make(m, process, call, record, values) for call, record in todo]
        for error in await asyncio.gather(*running, return_exceptions=True):
            if error is not None:
                raise error
    for _, record in todo:
        if record["s"] != "done":
            return None
    mapped = process.pending.get("mapped", 0)
    if process.pending["paged"] and mapped < len(records):
        model, room = m.model(process.model), m.room(process)
        for record in list(records.values())[mapped:]:
            page = m.pages.get(record["r"]["page"])
            m.memory.append(process, page, model, room, share=len(records))
            mapped += 1  # those that have no room yet follow when it was made
            process.pending["mapped"] = mapped
    return {
        call: Result(
            values[call] if call in values else value_of(m.pages, record["n"], record["r"]),
            record["r"]["ok"],
            record["r"].get("l", "trusted"),
            _readers(record["r"].get("readers")),
        )
        for call, record in records.items()
    }


async def _make(
    m: "Machine", process: Process, call: str, record: Record, values: dict[str, Any]
) -> None:
    """One call to its outcome, or to what it waits for."""
    name, offered_only = record["n"], process.pending["paged"]
    entry = SYSCALLS.get(name)
    try:
        if not offered_only and "0" in record["a"]:
            _name_arguments(m, record)
        if offered_only and ("client" in record or process.capabilities.of_client(name)):
            outcome = _by_client(record)
        elif entry is None or (offered_only and not entry.shown):
            outcome = await calls.call_tool(m, process, call, record)
        elif record["a"] is None:
            raise InvalidArguments(f"{name}: the arguments were not a JSON object.")
        elif offered_only and not process.capabilities.allows_tool(name):
            raise InvalidArguments(f"{name} was not offered to this process.")
        else:
            outcome = await entry.run(m, process, call, record)
    except calls.FATAL:
        raise
    except KernelError as error:
        outcome = Outcome(str(error), ok=False)
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        if entry is None:
            raise
        outcome = Outcome(f"{name}: {error}", ok=False)  # its arguments were wrong
    if isinstance(outcome, Blocked):
        record["s"] = "sent" if outcome.doubt else "wait"
        record["why"], record["wakes"] = outcome.why, outcome.wake
        m.store.save(process)  # beside the child that was born, or the question that was asked
        return
    values[call] = outcome.value
    _keep(m, process, call, record, outcome)


def _by_client(record: Record) -> Outcome | Blocked:
    """A call that the process's client makes: its result comes as an "answer"."""
    record["client"] = True  # even if its tools are others meanwhile
    if "answer" in record:
        return Outcome(record.pop("answer"), label="untrusted")
    return Blocked("its client")


def _name_arguments(m: "Machine", record: Record) -> None:
    """Gives the positional arguments of a program's call ("0", "1", …) their names."""
    if entry := SYSCALLS.get(record["n"]):
        names: Sequence[str] = entry.takes
    else:
        tool = m.tools.get(record["n"])
        if tool is None:
            return  # which is said where it is called
        names = tuple(tool.parameters.get("properties", ()))
    count = max(int(key) + 1 if key.isdecimal() else 0 for key in record["a"])
    if count > len(names):
        raise InvalidArguments(f"{record['n']} takes at most {len(names)} arguments.")
    record["a"] = {names[int(k)] if k.isdecimal() else k: v for k, v in record["a"].items()}


def _keep(m: "Machine", process: Process, call: str, record: Record, outcome: Outcome) -> None:
    """Stages an outcome: a page, a line of the journal, and the row."""
    name, value = record["n"], outcome.value
    kept: dict[str, Any] = {"ok": outcome.ok}
    if outcome.label == "untrusted":
        kept["l"] = outcome.label
    if outcome.readers is not None:
        kept["readers"] = sorted(outcome.readers)
    if outcome.page is not None:
        kept["page"] = outcome.page
    else:
        is_text, text = isinstance(value, str), as_text(value)
        if process.pending["paged"] or len(text) > INLINE:
            meta: dict[str, Any] = {"call": call, "name": name}
            if not is_text:
                meta["json"] = "1"
            if outcome.label == "untrusted":
                meta["from"] = sorted(_sources(name, outcome))
            if (readers := _join(_made_by(m, process), outcome.readers)) is not None:
                meta["readers"] = sorted(readers)
            tokens = m.count(process, text)
            page = m.pages.put("tool", text, tokens=tokens, label=outcome.label, meta=meta)
            kept["page"] = page.id
        else:
            kept["value"] = value
        m.events.emit(process.pid, "result", id=call, name=name, text=text, ok=outcome.ok)
    cost: dict[str, int] = record.pop("cost", {})
    if cost and outcome.page is not None:
        m.events.emit(process.pid, "thought", page=outcome.page, finish=value["finish"], **cost)
    process.read(outcome.label, _sources(name, outcome), outcome.readers)
    if value is not None or name != "recv":  # that there is no mail is no news
        line = kept if call == "0" else {"call": call, **kept}
        spent = {name: number for name, number in cost.items() if number}
        m.journal.append(process.pid, name, **line, **spent)
    asked = record.get("inner", record)
    m.asks.close(asked.get("ask"), asked.get("doubt"))  # settled otherwise, they are moot
    record["s"], record["r"] = "done", kept
    m.store.save(process)
    tool = m.tools.get(asked["n"])
    if tool is not None and tool.effect in ("keyed", "raw"):
        calls.fault("before result")
        m.store.kick()


def _sources(name: str, outcome: Outcome) -> Iterable[str]:
    """Where an outcome comes from; at least from the call."""
    return (name,) if outcome.sources is None else outcome.sources


def _readers(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _join(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return one if other is None else other if one is None else one & other


def _made_by(m: "Machine", process: Process) -> frozenset[str] | None:
    """Who may read the call: a result may hold its arguments. It stands in the last page."""
    bound = process.guard.readers
    if bound is None or not process.pending["paged"] or not len(process.pages):
        return bound
    *_, (last, *_) = process.pages
    return readers_of(m.pages.get(last))


def as_text(value: Any) -> str:
    """A result as a model reads it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def value_of(pages: Pages, name: str, kept: Mapping[str, Any]) -> Any:
    """The value of a call that has settled, from what is kept of it in the row or the journal."""
    if "page" not in kept:
        return kept.get("value")
    page = pages.get(kept["page"])
    meta = json.loads(page.meta) if page.meta else {}
    if name == "think":
        calls, finish = meta.get("calls", []), meta.get("finish")
        finish = finish or ("calls" if calls else "stop")
        held = {"held": True} if meta.get("held") else {}
        return {"text": page.text, "calls": calls, "finish": finish, **held}
    return json.loads(page.text) if meta.get("json") else page.text
