"""How processes come to be: spawned on a request, as children, or forked from a running one."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cabinos.kernel.budget import Budget
from cabinos.kernel.capability import Capabilities
from cabinos.kernel.errors import InvalidArguments, KernelError
from cabinos.kernel.images.chat import Chat
from cabinos.kernel.images.code import Code
from cabinos.kernel.process import PageTable, Process, State

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine

__all__ = ["SYSTEM", "fork", "fork_in_call", "make_child", "make_process"]

SYSTEM = (
    "You are Cabin, an assistant that acts on the user's own machine. Use the tools for whatever "
    "they can do, above all for arithmetic, dates, files and memory; do not guess what a tool can "
    "tell. Answer briefly, in the user's language. If you cannot do something, say so."
)
TITLE = 60  # characters of a request by which people know a process


def make_process(
    m: "Machine",
    image: str,
    *,
    request: str = "",
    context: str = "",
    source: str = "",
    title: str = "",
    system: str | None = None,
    model: str | None = None,
    capabilities: Capabilities | None = None,
    budget: Budget | None = None,
    nice: int = 0,
    interactive: bool = False,
    parent: Process | None = None,
    options: Mapping[str, Any] | None = None,
) -> Process:
    """A new process, staged but not started. `options` go to the image's `start`.

    Raises InvalidArguments, or ModelError if there is no such model.
    """
    if not -20 <= nice <= 19:
        raise InvalidArguments(f"nice must be from -20 to 19, not {nice}.")
    name = model or (parent.model if parent else next(iter(m.models), ""))
    if image == "chat":
        m.model(name)  # raises if it is not there
        state = Chat.start(**dict(options or {}))
    elif image == "code":
        state = Code.start(source=source, **dict(options or {}))
    else:
        raise InvalidArguments(f"there is no image {image!r}; there are chat and code.")
    pid = m.table.new_pid()
    words = (title or request or source).strip().splitlines()
    process = Process(
        pid,
        parent.pid if parent else None,
        parent.root if parent else pid,
        words[0][:TITLE] if words else image,
        image,
        name,
        capabilities or Capabilities(),
        nice,
        interactive,
        image_state=state,
        account=(budget or Budget()).account(),
        above=parent,
    )
    if parent is not None:
        process.read(parent.label)
    if image == "chat":
        _first_pages(m, process, SYSTEM if system is None else system, request, context)
    m.table.add(process)
    m.journal.append(pid, "spawn", image=image, title=process.title, parent=process.parent)
    return process


def _first_pages(m: "Machine", process: Process, system: str, request: str, context: str) -> None:
    """The pinned beginning of a conversation, and what came with the request."""
    model, room = m.model(process.model), m.room(process)
    for role, text, label in (("system", system, "trusted"), ("user", request, process.label)):
        if text:
            page = m.pages.put(role, text, tokens=model.count(text), label=label)
            m.memory.append(process, page, model, room, pinned=True)
    if context:
        page = m.pages.put("user", context, tokens=model.count(context), label="untrusted")
        m.memory.append(process, page, model, room)


def make_child(
    m: "Machine",
    parent: Process,
    image: str,
    *,
    request: str = "",
    source: str = "",
    title: str = "",
    tools: Sequence[str] | None = None,
    files: Sequence[str] | None = None,
) -> Process:
    """A child of a running process, started. It may do what its parent may, or less.

    `files` are names in the parent's folders, all of them if None; likewise `tools`. What the
    parent has read speaks through the request, so the child inherits its label.
    """
    if image == "chat" and not request.strip():
        raise InvalidArguments("spawn: request must be a text that is not empty.")
    own = parent.capabilities
    asked = Capabilities(
        own.tools if tools is None else frozenset(tools),
        own.files if files is None else tuple(own.grant(path) for path in files),
        own.web,
        own.shell,
    )
    child = make_process(
        m,
        image,
        request=request,
        source=source,
        title=title,
        capabilities=own.attenuate(asked),
        nice=parent.nice,
        interactive=parent.interactive,
        parent=parent,
    )
    m.start(child)
    return child


def fork(m: "Machine", original: Process, *, stay: bool = False) -> Process:
    """A child that goes on from where the original is, over the same pages. Staged, not started.

    `stay`: a chat waits for the next message after each answer, whatever the original did. Raises
    KernelError while a call is under way that must not be made twice.
    """
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
        pages=PageTable(original.pages.to_bytes()),
        step=original.step,
        pending=_forked_calls(original),
        label=original.label,
        above=original,
        resident_tokens=original.resident_tokens,
    )
    if original.state == State.EXITED:  # it goes on when it is spoken to
        if original.image != "chat":
            raise KernelError(f"process {original.pid} has ended: only a chat can be taken up.")
        child.image_state["phase"] = "recv"
        child.pending = {"calls": {"0": {"n": "recv", "a": {}}}, "paged": False}
    if stay and child.image == "chat":
        child.image_state["stay"] = True
    m.table.add(child)
    m.journal.append(pid, "fork", original=original.pid)
    return child


def _forked_calls(original: Process) -> dict[str, Any]:
    """The pending calls as the child makes them: again, or with the results there are."""
    pending: dict[str, Any] = copy.deepcopy(original.pending)
    for record in pending.get("calls", {}).values():
        if record.get("s") in (None, "done"):
            continue
        inner = record.get("inner", record)
        under_way = inner.get("s") == "sent" and record["n"] != "think"
        if under_way or "child" in record:
            raise KernelError(
                f"process {original.pid} is in the middle of {inner['n']}: fork it when that is "
                f"done, or stopped."
            )
        for key in ("s", "ask", "bound", "answer", "why", "wakes", "cost"):
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
