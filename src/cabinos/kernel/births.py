"""How processes come to be: spawned on a request, as children, or forked from a running one."""

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cabinos.kernel.budget import Account
from cabinos.kernel.capability import Capabilities
from cabinos.kernel.driver import Integrity, Message
from cabinos.kernel.errors import InvalidArguments, KernelError
from cabinos.kernel.grants import split
from cabinos.kernel.memory import thought_meta
from cabinos.kernel.monitor import grant, grant_typed, typed_words
from cabinos.kernel.process import PageTable, Process, State
from cabinos.kernel.spawn import Spawn
from cabinos.store.encode import clean_text

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine

__all__ = [
    "SYSTEM",
    "copy_process",
    "fork",
    "fork_in_call",
    "instructions",
    "listen",
    "make_child",
    "make_process",
    "said",
]

SYSTEM = (
    "You are Cabin, an assistant that acts on the user's own machine. Use the tools for whatever "
    "they can do, above all for arithmetic, dates, files and memory; do not guess what a tool can "
    "tell. Answer briefly, in the user's language. If you cannot do something, say so."
)
BRIEF = 8  # devices may say at most 1/BRIEF of a window each, before the request
TITLE = 60  # characters of a request by which people know a process


def make_process(
    m: "Machine", spawn: Spawn, capabilities: Capabilities, parent: Process | None = None
) -> Process:
    """A new process, staged but not started. What `spawn` says of tools and folders is not read.

    Raises InvalidArguments, ModelError if there is no such model, ContextOverflow if what was said
    does not fit a `whole` process.
    """
    if not -20 <= spawn.nice <= 19:
        raise InvalidArguments(f"nice must be from -20 to 19, not {spawn.nice}.")
    model = spawn.model or (parent.model if parent else m.brain or next(iter(m.models), ""))
    if spawn.image == "chat":
        m.model(model)  # raises if it is not there
    state = spawn.state()
    pid = m.table.new_pid()
    said = next((said.text for said in reversed(spawn.messages) if said.role == "user"), "")
    words = clean_text(spawn.request or spawn.code or said or spawn.context).strip().splitlines()
    process = Process(
        pid,
        parent.pid if parent else None,
        parent.root if parent else pid,
        words[0][:TITLE] if words else spawn.image,
        spawn.image,
        model,
        capabilities,
        spawn.nice,
        spawn.interactive,
        image_state=state,
        account=spawn.budget.account() if spawn.budget else Account(),
        above=parent,
    )
    if parent is not None:
        process.read(parent.label, parent.guard.sources)
        process.guard.readers = parent.guard.readers
    if spawn.code and process.label == "trusted":
        process.guard.program = spawn.code
    if spawn.image == "chat":
        _first_pages(m, process, spawn)
        if spawn.messages:
            _earlier_pages(m, process, spawn.messages)
    m.table.add(process)
    m.journal.append(pid, "spawn", image=spawn.image, title=process.title, parent=process.parent)
    if spawn.grants:
        grant(m, process, spawn.grants, first=parent is None)
    if spawn.image == "chat":
        grant_typed(m, process, typed_words(m, process))
    return process


def instructions(m: "Machine", process: Process, request: str) -> str:
    """The kernel's own, and what devices say to a request; a model trained without needs none."""
    model = m.model(process.model)
    if getattr(model, "assistant", False):
        return ""
    texts = [SYSTEM]
    for driver in m.drivers:
        if driver.brief is None or not request:
            continue
        if any(process.capabilities.allows_tool(tool.name) for tool in driver.tools):
            texts.append(driver.brief(request, model.count, model.window // BRIEF))
    return "\n\n".join(filter(None, texts))


def said(m: "Machine", process: Process, *, first: bool) -> str:
    """The first, or the last, that a person typed to the process."""
    pages = (m.pages.get(page_id) for page_id, *_ in process.pages)
    typed = [p.text for p in pages if p.role == "user" and p.label == "trusted" and not p.meta]
    return "" if not typed else typed[0 if first else -1]


def _first_pages(m: "Machine", process: Process, spawn: Spawn) -> None:
    """The pinned beginning of a conversation, and what came with the request."""
    model, room = m.model(process.model), m.room(process)
    system = spawn.system
    if system is None:
        system = instructions(m, process, spawn.request)
    first: list[tuple[str, str, Integrity]] = [
        ("system", system, "trusted"),
        ("user", spawn.request, process.label),
    ]
    place = spawn.system is None or process.image_state.get("stay")  # instructions may come later
    for role, text, label in first:
        if text or (role == "system" and place):
            meta = process.told() if role == "user" else None
            page = m.pages.put(role, text, tokens=model.count(text), label=label, meta=meta)
            m.memory.append(process, page, model, room, pinned=True)
    if context := spawn.context:
        meta = {**(process.told() or {}), "from": sorted(process.guard.sources) or ["context"]}
        page = m.pages.put(
            "user", context, tokens=model.count(context), label="untrusted", meta=meta
        )
        m.memory.append(process, page, model, room)


def _earlier_pages(m: "Machine", process: Process, messages: Sequence[Message]) -> None:
    """What was said before. After a tool's result, the model's words may be somebody else's."""
    model = m.model(process.model)
    room = m.room(process)
    label = process.label
    for message in messages:
        text = message.text
        meta = thought_meta(message.calls)
        if message.role == "tool":
            label, meta = "untrusted", {"call": message.call_id, "name": message.name}
        tokens = model.count(text) + sum(
            model.count(call.name + call.raw) for call in message.calls
        )
        own: Integrity = label if message.role in ("assistant", "tool") else "trusted"
        page = m.pages.put(message.role, text, tokens=tokens, label=own, meta=meta)
        m.memory.append(process, page, model, room)


def make_child(
    m: "Machine",
    parent: Process,
    spawn: Spawn,
    *,
    tools: Sequence[str] | None = None,
    files: Sequence[str] | None = None,
    grants: Sequence[str] = (),
) -> Process:
    """A child of a running process, started. It may do what its parent may, or less.

    `files` are names in the parent's folders, all of them if None; likewise `tools`. What the
    parent has read speaks through the request, so the child inherits its label. `grants` are ids of
    the parent's, which it gives away.
    """
    text = spawn.code or spawn.request
    if not isinstance(text, str) or not text.strip():
        raise InvalidArguments("spawn: a request, or code, must be a text that is not empty.")
    own = parent.capabilities
    asked = Capabilities(
        own.tools if tools is None else frozenset(tools),
        own.files if files is None else tuple(own.grant(path) for path in files),
        own.web,
        own.shell,
    )
    spawn = replace(spawn, nice=parent.nice, interactive=parent.interactive)
    kept, given = split(parent.guard.grants, grants)
    child = make_process(m, spawn, own.attenuate(asked), parent)
    parent.guard.grants, child.guard.grants = kept, child.guard.grants + given
    child.guard.frozen = parent.guard.frozen
    m.store.save(parent)
    m.start(child)
    return child


def fork(m: "Machine", original: Process, *, stay: bool = False) -> Process:
    """A child that goes on from where the original is, over the same pages. Staged, not started.

    `stay`: a chat waits for the next message after each answer, whatever the original did. Raises
    KernelError while a call is under way that must not be made twice.
    """
    child = copy_process(
        m, original, PageTable(original.pages.to_bytes()), _forked_calls(m, original)
    )
    if original.state == State.EXITED:  # it goes on when it is spoken to
        listen(child)
        _answer_calls(m, child)
    if stay and child.image == "chat":
        child.image_state["stay"] = True
    return child


def _answer_calls(m: "Machine", child: Process) -> None:
    """Results for calls that were cut off: many servers refuse a conversation without them."""
    calls: list[list[Any]] = []
    for last, stub, _ in list(child.pages)[-1:]:
        page = m.pages.get(last)
        calls = json.loads(page.meta).get("calls", []) if page.meta and not stub else []
    for call, name, *_ in calls:
        text, meta = "It was cut off.", {"call": call, "name": name}
        page = m.pages.put("tool", text, tokens=m.count(child, text), meta=meta)
        m.memory.append(child, page, m.model(child.model), m.room(child), share=len(calls))


def listen(child: Process) -> None:
    """Lets a copied process wait to be spoken to. Raises KernelError if it runs a program."""
    if child.image != "chat":
        raise KernelError(f"process {child.parent} has ended: only a chat can be taken up.")
    child.image_state["phase"] = "recv"
    child.pending = {"calls": {"0": {"n": "recv", "a": {}}}, "paged": False}


def copy_process(
    m: "Machine", original: Process, pages: PageTable, pending: dict[str, Any]
) -> Process:
    """A child with the state of `original` but for its pages and calls. Staged, not started."""
    pid = m.table.new_pid()
    child = Process(
        pid,
        original.pid,
        original.root,
        original.title,
        original.image,
        original.model,
        original.capabilities,
        original.nice,
        original.interactive,
        image_state=copy.deepcopy(original.image_state),
        pages=pages,
        step=original.step,
        pending=pending,
        label=original.label,
        guard=replace(original.guard, grants=()),  # they are linear: the original keeps them
        above=original,
        resident_tokens=original.resident_tokens,
    )
    m.table.add(child)
    m.journal.append(pid, "fork", original=original.pid)
    return child


def _forked_calls(m: "Machine", original: Process) -> dict[str, Any]:
    """The pending calls as the child makes them: again, or with the results there are."""
    pending: dict[str, Any] = copy.deepcopy(original.pending)
    for record in pending.get("calls", {}).values():
        if record.get("s") in (None, "done"):
            continue
        inner = record.get("inner", record)
        tool = m.tools.get(inner["n"])
        pure = tool is not None and tool.effect == "pure"
        under_way = inner.get("s") == "sent" and record["n"] != "think" and not pure
        if under_way or "child" in record:
            raise KernelError(
                f"process {original.pid} is in the middle of {inner['n']}: fork it when that is "
                f"done, or stopped."
            )
        for key in ("s", "ask", "bound", "checked", "answer", "why", "wakes"):
            record.pop(key, None)
            inner.pop(key, None)
    return pending


def fork_in_call(m: "Machine", process: Process, call: str) -> Process:
    """The syscall: the child finds its own call answered with pid 0."""
    child = fork(m, process)
    child.pending["calls"][call] = {
        "n": "fork",
        "s": "done",
        "r": {"ok": True, "value": {"pid": 0}},
    }
    m.start(child)
    return child
