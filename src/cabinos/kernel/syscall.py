"""The syscalls: one line each in the table at the end, and its function above.

A handler takes the machine, the process, the id of the call and its record. It returns an Outcome,
or Blocked; a blocked call is asked again whenever the process is woken, so what must happen once
is noted in the record. Errors of the caller are raised as KernelError and become the call's result.
"""

import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cabinos.kernel.births import fork_in_call, make_child
from cabinos.kernel.call import call_tool
from cabinos.kernel.capability import ClientTool
from cabinos.kernel.driver import Integrity, Tool
from cabinos.kernel.errors import Denied, InvalidArguments, ToolError
from cabinos.kernel.escalate import escalate
from cabinos.kernel.memory import readers_of, sources_of, thought_meta
from cabinos.kernel.monitor import drop_plan, grant
from cabinos.kernel.outcome import Blocked, Outcome, Record
from cabinos.kernel.plan import proposals
from cabinos.kernel.process import Process, State
from cabinos.kernel.spawn import Spawn
from cabinos.kernel.think import think
from cabinos.store.encode import to_json

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine

__all__ = ["SYSCALLS", "Entry", "client_tool", "model_tools"]


# ---- work ----------------------------------------------------------------------------------------


async def sys_call(m: "Machine", p: Process, call: str, record: Record) -> Outcome | Blocked:
    """A tool by name; what a program says where a model names the tool itself."""
    name = _text(record, "name")
    inner = record.setdefault("inner", {"n": name, "a": dict(record["a"].get("arguments") or {})})
    if name in SYSCALLS:
        raise InvalidArguments(f"call: {name} is a syscall, not a tool.")
    return await call_tool(m, p, call, inner)


async def sys_exec(m: "Machine", p: Process, call: str, record: Record) -> Outcome | Blocked:
    """Python in a child of its own, which may do what this process may."""
    if "child" not in record:
        record["child"] = make_child(m, p, Spawn(code=_text(record, "code"))).pid
    return _ended(m, m.table.get(record["child"]))


# ---- files: the same four words for everything that has a name -----------------------------------


def _mounted(verb: str) -> "Handler":
    """`read`, `write` or `list` by the device the name belongs to."""

    async def handler(m: "Machine", p: Process, call: str, record: Record) -> Outcome | Blocked:
        path = _text(record, "path")
        device = "web" if path.startswith(("http://", "https://")) else "files"
        if (device, verb) not in MOUNTS:
            raise InvalidArguments(f"{verb}: {path!r} cannot be used that way.")
        name, argument = MOUNTS[device, verb]
        given = {k: v for k, v in record["a"].items() if k != "path"}
        inner = record.setdefault("inner", {"n": name, "a": {argument: path, **given}})
        return await call_tool(m, p, call, inner)

    return handler


MOUNTS = {
    ("files", "read"): ("files_read", "path"),
    ("files", "write"): ("files_write", "path"),
    ("files", "list"): ("files_list", "path"),
    ("web", "read"): ("web_fetch", "url"),
}


async def sys_narrow(m: "Machine", p: Process, call: str, record: Record) -> Outcome:
    """A narrower capability: a handle that can be read, or given to a child."""
    number = len(p.capabilities.files)
    grant = p.capabilities.grant(
        _text(record, "path"), record["a"].get("mode") or "r", f"fd{number}"
    )
    p.capabilities = p.capabilities.with_files(grant)
    return Outcome(grant.name)


# ---- memory --------------------------------------------------------------------------------------


async def sys_recall(m: "Machine", p: Process, call: str, record: Record) -> Outcome:
    a = record["a"]
    text, label, readers = await m.memory.recall(
        p,
        m.room(p),
        handle=str(a.get("handle") or ""),
        query=str(a.get("query") or ""),
        offset=int(a.get("offset") or 0),
    )
    own = frozenset[str]()  # of what it had read before
    return Outcome(text, label=label, sources=own, readers=readers)


async def sys_pin(m: "Machine", p: Process, call: str, record: Record) -> Outcome:
    page = m.memory.find(p, _text(record, "handle"))
    p.pages.pin(page.id, pinned=bool(record["a"].get("pinned", True)))
    return Outcome("pinned" if record["a"].get("pinned", True) else "not pinned")


async def sys_evict(m: "Machine", p: Process, call: str, record: Record) -> Outcome:
    gone = m.memory.evict(p, m.room(p))
    return Outcome(f"{gone} pages swapped out")


# ---- processes -----------------------------------------------------------------------------------


async def sys_spawn(m: "Machine", p: Process, call: str, record: Record) -> Outcome:
    if "child" not in record:
        a = record["a"]
        spawn = Spawn(request=a.get("request") or "", code=a.get("code") or "")
        child = make_child(
            m, p, spawn, tools=a.get("tools"), files=a.get("files"), grants=a.get("grants") or ()
        )
        record["child"] = child.pid
    return Outcome({"pid": record["child"]})


async def sys_fork(m: "Machine", p: Process, call: str, record: Record) -> Outcome:
    """As in Unix: the parent gets the child's pid, the child 0."""
    if "child" not in record:
        record["child"] = fork_in_call(m, p, call).pid
    return Outcome({"pid": record["child"]})


async def sys_wait(m: "Machine", p: Process, call: str, record: Record) -> Outcome | Blocked:
    """For one child, or for all that are named."""
    pids = record["a"].get("pids", record["a"].get("pid"))
    pids = [int(pid) for pid in (pids if isinstance(pids, list) else [pids])]
    children = [_relative(m, p, pid) for pid in pids]
    if running := [child.pid for child in children if child.state != State.EXITED]:
        return Blocked(f"process {', '.join(map(str, running))}")
    ended = [_ended(m, child) for child in children]
    outcomes = [o for o in ended if isinstance(o, Outcome)]
    if len(outcomes) == 1:
        return outcomes[0]
    tainted = any(o.label == "untrusted" for o in outcomes)
    label: Integrity = "untrusted" if tainted else "trusted"
    values = {str(pid): o.value for pid, o in zip(pids, outcomes, strict=True)}
    sources = frozenset(s for o in outcomes for s in o.sources or ())
    bound = [o.readers for o in outcomes if o.readers is not None]
    readers = frozenset.intersection(*bound) if bound else None
    ok = all(o.ok for o in outcomes)
    return Outcome(values, ok, label, sources, readers)


async def sys_kill(m: "Machine", p: Process, call: str, record: Record) -> Outcome:
    child = _relative(m, p, int(record["a"].get("pid") or 0))
    await m.kill(child.pid)
    return Outcome(f"process {child.pid} is gone")


# ---- messages, people, time ----------------------------------------------------------------------


async def sys_send(m: "Machine", p: Process, call: str, record: Record) -> Outcome:
    to = int(record["a"].get("pid") or p.parent or 0)
    if to != p.parent:
        _relative(m, p, to)
    m.post(to, _text(record, "text"), sender=p)
    return Outcome("sent")


async def sys_recv(m: "Machine", p: Process, call: str, record: Record) -> Outcome | Blocked:
    """The next message; with `wait` false, None if there is none."""
    if p.image == "chat":
        drop_plan(p)
    mail = m.receive(p)
    if mail is None:
        return Outcome(None) if record["a"].get("wait") is False else Blocked("a message")
    return Outcome(mail.text, label=mail.label, sources=sources_of(mail), readers=readers_of(mail))


async def sys_ask(m: "Machine", p: Process, call: str, record: Record) -> Outcome | Blocked:
    """A question to the person, answered in words, whenever."""
    if "answer" in record:
        return Outcome(record["answer"])
    if "ask" not in record:
        record["ask"] = m.ask(p, call, "question", b"", _text(record, "question"), {})
    return Blocked("an answer")


async def sys_grant(kernel: "Machine", p: Process, call: str, record: Record) -> Outcome:
    """Mints the grants of a plan, or those that are named; returns what its tools assign."""
    steps, named = record["a"].get("plan"), record["a"].get("grants")
    proposed = [g for g in proposals(steps) if g["tool"] in kernel.tools] if steps else named or []
    for step in steps or ():
        _require_known(kernel, p, step["tool"])
    grant(kernel, p, proposed, plan=bool(steps))
    if steps and p.image == "chat":
        _map_plan(kernel, p, steps)
    named_tools = {proposal["tool"] for proposal in proposed}
    return Outcome({name: list(kernel.tools[name].ids) for name in sorted(named_tools)})


def _require_known(m: "Machine", p: Process, name: str) -> None:
    """Raises Denied for a step that a model could not call, but for `quarantine`."""
    known = (name in m.tools or name in m.syscall_tools) and p.capabilities.allows_tool(name)
    if not known and name != "quarantine":
        raise Denied(f"a plan cannot call {name[:80]!r}: this process has no such tool.")


def _map_plan(m: "Machine", p: Process, steps: Any) -> None:
    """The plan joins the conversation: in the place of the calls that were held back for it."""
    model, text = m.model(p.model), to_json({"steps": steps})
    meta = thought_meta((), readers=m.memory.readers(p))
    page = m.pages.put("assistant", text, tokens=model.count(text), label=p.label, meta=meta)
    if "held" in p.image_state:
        p.pages.exchange(len(p.pages) - 1, page.id)
        p.resident_tokens, p.messages = -1, None
    else:
        m.memory.append(p, page, model, m.room(p))


async def sys_quarantine(
    kernel: "Machine", p: Process, call: str, record: Record
) -> Outcome | Blocked:
    """A child that reads data: no tools, an answer bound to a schema, the label of what it read."""
    if "child" not in record:
        a, data = record["a"], record["a"].get("data")
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        schema = a.get("schema") or {"type": "string"}
        spawn = Spawn(request=_text(record, "instruction"), context=text, schema=schema)
        record["child"] = make_child(kernel, p, spawn, tools=(), files=()).pid
    return _ended(kernel, kernel.table.get(record["child"]))


async def sys_sleep(m: "Machine", p: Process, call: str, record: Record) -> Outcome | Blocked:
    """Until a moment (`until`, seconds since 1970) or for some `seconds`, whatever restarts."""
    if "wake" not in record:
        a = record["a"]
        moment = a.get("until")
        wake = float(moment) if moment else time.time() + float(a.get("seconds") or 0)
        if not math.isfinite(wake):
            raise InvalidArguments("sleep: how long? That is no number of seconds.")
        record["wake"] = wake
    if time.time() >= record["wake"]:
        return Outcome("awake")
    return Blocked("the clock", wake=record["wake"])


# ---- help for the above --------------------------------------------------------------------------


def _text(record: Record, name: str) -> str:
    value = (record["a"] or {}).get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidArguments(f"{record['n']}: {name} must be a text that is not empty.")
    return value


def _relative(m: "Machine", p: Process, pid: int) -> Process:
    """A descendant; raises Denied for any other process."""
    process = m.table.get(pid)
    if pid != p.pid and p in process.lineage():
        return process
    raise Denied(f"process {pid} is not a child of process {p.pid}.")


def _ended(m: "Machine", child: Process) -> Outcome | Blocked:
    """What a child answered, or that it has not ended yet."""
    if child.state != State.EXITED:
        return Blocked(f"process {child.pid}")
    value, ok = m.answer_of(child)
    return Outcome(value, ok, child.label, child.guard.sources, child.guard.readers)


Handler = Callable[["Machine", Process, str, Record], Awaitable[Outcome | Blocked]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A syscall: its function, the names of its positional arguments, and how a model sees it."""

    run: Handler
    takes: tuple[str, ...] = ()
    shown: str = ""  # a description; "" hides it from models
    properties: Mapping[str, Any] = field(default_factory=dict)
    hints: str = ""  # words by which people ask for it
    optional: bool = False  # its arguments need not be given


TEXT, INT, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
OWN_WORDS = {**TEXT, "x-free": True}  # not to be copied from the conversation

SYSCALLS: dict[str, Entry] = {
    "think": Entry(think, ("say",)),
    "call": Entry(sys_call, ("name", "arguments")),
    "exec": Entry(
        sys_exec,
        ("code",),
        "Run Python and get the value of its last expression. Exact arithmetic, dates, text, JSON. "
        "It can call the other tools as functions.",
        {"code": OWN_WORDS},
        "letter often add up turn around duplicates dedupe unique even odd occur times average "
        "number of python code program script run execute loop compute simulate prime fibonacci "
        "sort sorted alphabetical alphabetize order arrange reverse backwards palindrome count "
        "words letters vowels characters length uppercase capitals binary hex hexadecimal decimal "
        "digits divisors factors divisible multiples table numbers from to up squares series "
        "largest smallest these json function algorithm list",
    ),
    "narrow": Entry(sys_narrow, ("path", "mode")),  # programs have `open` and `list` for themselves
    "read": Entry(_mounted("read"), ("path",)),
    "write": Entry(_mounted("write"), ("path", "text")),
    "ls": Entry(_mounted("list"), ("path",)),
    "recall": Entry(
        sys_recall,
        ("query",),
        "Bring back what was swapped out of this conversation, by a page's handle or by words.",
        {"handle": TEXT, "query": TEXT, "offset": INT},
        "earlier before in this conversation what did i say you said previously bring back above",
        optional=True,
    ),
    "pin": Entry(sys_pin, ("handle",)),
    "evict": Entry(sys_evict),
    "spawn": Entry(
        sys_spawn,
        ("request",),
        "Start a helper process on a request of its own; it works while you go on.",
        {"request": TEXT},
        "helper in parallel at the same time background delegate subtask start another process",
    ),
    "fork": Entry(sys_fork),
    "wait": Entry(
        sys_wait,
        ("pid",),
        "Wait for a helper and get its answer.",
        {"pid": INT},
        "wait for the helper child process answer result finished",
    ),
    "kill": Entry(sys_kill, ("pid",)),
    "send": Entry(sys_send, ("text", "pid")),
    "recv": Entry(sys_recv),
    "ask": Entry(
        sys_ask,
        ("question",),
        "Ask the person a question and wait for the answer.",
        {"question": OWN_WORDS},
        "ask me a question first check with me what do i prefer clarify",
    ),
    "grant": Entry(sys_grant, ("plan", "grants")),
    "quarantine": Entry(sys_quarantine, ("instruction", "data", "schema")),
    "sleep": Entry(
        sys_sleep,
        ("seconds",),
        "Wait for some seconds; a restart does not matter.",
        {"seconds": NUMBER},
        "wait for seconds pause sleep delay then continue",
    ),
    "escalate": Entry(
        escalate,
        ("why",),
        "Hand the conversation over to a larger model.",
        {"why": OWN_WORDS},
        optional=True,
    ),
}


async def _never(*_: Any, **__: Any) -> None:
    raise ToolError("this is served by the kernel, or by the process's client")


def client_tool(tool: ClientTool) -> Tool:
    """A client's tool as models are shown it."""
    return Tool(tool.name, tool.description, json.loads(tool.parameters), _never)


def model_tools() -> dict[str, Tool]:
    """The syscalls that models may be offered, in the shape of tools."""
    return {
        name: Tool(
            name,
            entry.shown,
            {
                "type": "object",
                "properties": dict(entry.properties),
                "required": [] if entry.optional else list(entry.properties),
            },
            _never,
            effect="local",
            label="trusted",
            hints=entry.hints,
        )
        for name, entry in SYSCALLS.items()
        if entry.shown
    }
