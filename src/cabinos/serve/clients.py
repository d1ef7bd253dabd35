"""What a client that holds a conversation does to its process: terms, results, branches."""

import json

from cabinos.kernel import births
from cabinos.kernel.errors import KernelError
from cabinos.kernel.kernel import Kernel, Spawn
from cabinos.kernel.process import Process
from cabinos.store.encode import clean_text

__all__ = ["change", "deliver", "fork_at"]

TERMS = ("schema", "think", "whole")  # of a chat's state: what each request may set anew


def change(kernel: Kernel, process: Process, spawn: Spawn) -> None:
    """Puts a chat on the terms of `spawn`, from its next thought on. Staged.

    What can be changed: model, system, capabilities, options of thinking, schema, `whole` and
    `interactive`. Raises ModelError if there is no such model.
    """
    process.model = kernel.model(spawn.model or process.model).name
    process.capabilities = kernel.capabilities(spawn)
    process.interactive = spawn.interactive
    kept = {key: value for key, value in process.image_state.items() if key not in TERMS}
    fresh = spawn.state()
    process.image_state = kept | {key: fresh[key] for key in TERMS if key in fresh}
    text = spawn.system
    if text is None:  # by its first words: the beginning stays the same, and caches warm
        text = births.instructions(kernel, process, births.said(kernel, process, first=True))
    page = kernel.pages.put("system", text, tokens=kernel.count(process, text))
    kernel.memory.instruct(process, page)
    kernel.store.save(process)


def deliver(kernel: Kernel, process: Process, call: str, text: str) -> None:
    """What the client says came of a call of one of its own tools. Staged.

    Raises KernelError if the process does not wait for that.
    """
    record = process.pending.get("calls", {}).get(call, {})
    if "client" not in record or "answer" in record or record.get("s") == "done":
        message = f"process {process.pid} does not wait for the result of a call {call!r}."
        raise KernelError(message)
    record["answer"] = clean_text(text)
    kernel.journal.append(process.pid, "deliver", call=call)
    kernel.store.save(process)
    kernel.wake(process.pid)


def fork_at(kernel: Kernel, original: Process, length: int) -> Process:
    """A child that goes on from when the original had only its first `length` pages.

    It waits to be spoken to; or if the last of the pages asks for calls of the client's tools, for
    their results. Staged, not started. Raises KernelError if other calls are among them.
    """
    pages = original.pages.head(length)
    last = [page_id for page_id, *_ in pages][-1:]
    meta = json.loads(kernel.pages.get(last[0]).meta or "{}") if last else {}
    calls, theirs = meta.get("calls", []), meta.get("client", [])
    if strangers := [name for call, name, *_ in calls if call not in theirs]:
        raise KernelError(
            f"process {original.pid} called {', '.join(strangers)} there: go on from its end."
        )
    child = births.copy_process(kernel, original, pages, {})
    child.resident_tokens = -1
    births.listen(child)
    if calls:
        child.image_state["phase"] = "call"
        records = {call: {"n": name, "a": a, "client": True} for call, name, a, _ in calls}
        child.pending = {"calls": records, "paged": True}
    return child
