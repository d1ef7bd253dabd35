"""The syscall `think`: pages in, an answer out, and everything that can go wrong on the way.

    mail → room → turn → reserve → commit → model → settle → page

What the thought may cost at most is reserved and committed before the model is asked, so no crash
lets a process think for free, and none overshoots its budget by more than the call in flight.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cabinos.kernel import budget
from cabinos.kernel.driver import Model, ThinkRequest, Thought, Tool, ToolCall
from cabinos.kernel.errors import (
    BudgetExceeded,
    ContextOverflow,
    InvalidArguments,
    KernelError,
    ModelError,
)
from cabinos.kernel.memory import OVERHEAD, thought_meta
from cabinos.kernel.monitor import plan_first
from cabinos.kernel.outcome import Blocked, Outcome, Record
from cabinos.kernel.private import let_out
from cabinos.kernel.process import Process
from cabinos.store.encode import to_json

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine

ANSWER = 1024  # tokens of an answer, unless asked for otherwise
LEAST_ANSWER = 16  # with fewer tokens left in the budget, thinking is not worth it
ATTEMPTS = 4  # at a model that fails in a way that may pass
BACKOFF = 0.25  # seconds before the second attempt; doubles with each
MOST = 1 << 40  # tokens that nobody reads or writes
SHRINK = 0.7  # of the room, each time a model finds a request too long


async def think(m: "Machine", process: Process, call: str, record: Record) -> Outcome | Blocked:
    """Answers from the process's pages; the answer becomes a page.

    What is asked for a plan is said aside: neither that nor the answer joins the conversation.
    """
    arguments = record["a"]
    model = m.model(process.model)
    tools = m.offered(process)
    say, most = arguments.get("say") or "", arguments.get("max_tokens") or ANSWER
    if not isinstance(say, str) or not isinstance(most, int) or most < 1:
        raise InvalidArguments("think: say is a text, and max_tokens a number from 1.")
    planning, aside = bool(arguments.get("planning")), 0
    answer = min(most, model.window // 4)
    room = m.memory.room(model, tools, answer)
    if planning:
        aside = model.count(say) + OVERHEAD
    elif say and not record.get("said"):
        record["said"] = True
        meta = process.told() or {"from": []}  # it was not typed
        page = m.pages.put("user", say, tokens=model.count(say), label=process.label, meta=meta)
        m.memory.append(process, page, model, room)
    if "held" not in process.image_state:  # its calls are open: mail would come in between
        m.take_mail(process, model, room)
    if waits := let_out(m, process, call, record, model):
        return waits
    m.store.save(process)  # it may have to wait for its turn: what it read is its own now
    if m.memory.resident(process) + aside > room:  # another model, or other tools, than before
        m.memory.evict(process, room, aside)
    shown = m.shown(process, model, tools)
    if planning:  # the kernel makes the calls: none of the client's; and strangers are not read yet
        of_client = process.capabilities.of_client
        shown = [tool for tool in shown if not tool.foreign and not of_client(tool.name)]
    elif strangers := [tool for tool in shown if tool.foreign]:  # who wrote their descriptions?
        process.read("untrusted", [tool.name for tool in strangers])
    frame = model.window - answer - room + aside  # tokens that are not pages: tools, for the most
    attempt = 0
    while True:
        attempt += 1
        try:
            thought = await _attempt(m, process, record, model, shown, frame, answer)
            break
        except ContextOverflow as error:  # its tokens are not as we count them
            if attempt == ATTEMPTS:
                raise
            room = int(room * SHRINK)
            m.memory.evict(process, room, aside)
            m.events.emit(process.pid, "retry", reason=str(error))
        except ModelError as error:
            if not error.retryable or attempt == ATTEMPTS:
                raise
            m.events.emit(process.pid, "retry", reason=str(error))
            await asyncio.sleep(BACKOFF * 2 ** (attempt - 1))
    if planning:
        return _keep_plan(m, process, model, thought)
    return _keep_thought(m, process, model, room, thought)


def _keep_plan(m: "Machine", process: Process, model: Model, thought: Thought) -> Outcome:
    """What was answered aside, as a page that is not mapped."""
    finish = "length" if thought.finish == "length" else "stop"
    meta = thought_meta((), finish, (), m.memory.readers(process)) or {}
    meta["plan"] = True
    tokens = model.count(thought.text)
    page = m.pages.put("assistant", thought.text, tokens=tokens, label=process.label, meta=meta)
    return Outcome({"text": page.text, "calls": [], "finish": finish}, page=page.id)


def _keep_thought(
    m: "Machine", process: Process, model: Model, room: int, thought: Thought
) -> Outcome:
    """The answer as a page; its calls get ids that are the same in every replay."""
    calls = tuple(
        ToolCall(
            f"c{process.step}-{number}",
            call.name,
            call.arguments if isinstance(call.arguments, dict) else None,
            call.raw,
        )
        for number, call in enumerate(thought.calls)
    )
    theirs = [call.id for call in calls if process.capabilities.of_client(call.name)]
    held = plan_first(m, process, model, [call.name for call in calls])
    meta = thought_meta(calls, thought.finish, theirs, m.memory.readers(process), held=held)
    # Not `output_tokens`: what a model thought unseen takes no room.
    tokens = model.count(thought.text) + (model.count(to_json(meta)) if calls else 0)
    page = m.pages.put("assistant", thought.text, tokens=tokens, label=process.label, meta=meta)
    m.memory.append(process, page, model, room)
    if not calls:
        process.result = page.id
    listed = [[call.id, call.name, call.arguments, call.raw] for call in calls]
    value: dict[str, Any] = {"text": page.text, "calls": listed, "finish": thought.finish}
    value |= {"held": True} if held else {}
    return Outcome(value, page=page.id)


async def _attempt(
    m: "Machine",
    process: Process,
    record: Record,
    model: Model,
    tools: Sequence[Tool],
    frame: int,
    answer: int,
) -> Thought:
    """Asks the model once: its turn, the reservation, the thought, the bill."""
    arguments = record["a"]
    queue = m.queues[model.name]
    lease = queue.try_acquire(process) or await queue.acquire(process)
    try:
        prompt = frame + m.memory.resident(process)
        accounts = process.accounts()
        tokens = budget.affordable(accounts, prompt + answer, prompt + LEAST_ANSWER)
        planning = bool(arguments.get("planning"))
        meter = _Meter(m, process, silent=planning)
        request = ThinkRequest(
            m.memory.assemble(process, (arguments.get("say") or "") if planning else ""),
            tools,
            max_tokens=tokens - prompt,
            temperature=arguments.get("temperature"),
            top_p=arguments.get("top_p"),
            seed=arguments.get("seed"),
            schema=arguments.get("schema"),
            stop=tuple(arguments.get("stop") or ()),
            raw=bool(arguments.get("raw")),
            pid=process.pid,
            emit=meter.emit,
            lease=lease,
            calls=not planning,
        )
        reserved = (tokens, _cost(model, prompt, tokens - prompt))
        budget.reserve(accounts, *reserved)
        m.save_lineage(process)
        spent, began = reserved, time.monotonic()
        try:
            await m.store.commit()
            thought = await _ask(model, request, budget.seconds_left(accounts))
            used = thought.input_tokens or prompt
            spent = (used + thought.output_tokens, _cost(model, used, thought.output_tokens))
        except (ModelError, BudgetExceeded, asyncio.CancelledError):  # costs what came before
            spent = meter.spent(model, prompt)
            raise
        finally:
            seconds = time.monotonic() - began
            budget.settle(accounts, reserved, spent, seconds)
            m.save_lineage(process)
        fresh = thought.input_tokens - thought.cached_tokens
        queue.charge(lease.root, lease.nice, fresh, thought.output_tokens - lease.booked)
        record["cost"] = {
            "in": thought.input_tokens,
            "cached": thought.cached_tokens,
            "out": thought.output_tokens,
            "micros": spent[1],
            "ms": round(seconds * 1000),
        }
        return thought
    finally:
        lease.release()


class _Meter:
    """Passes text on as it comes, unless it is `silent`, and knows how much there was."""

    def __init__(self, m: "Machine", process: Process, *, silent: bool) -> None:
        self._events = m.events
        self._pid = process.pid
        self._label = process.label
        self._silent = silent
        self._text: list[str] = []

    def emit(self, text: str) -> None:
        self._text.append(text)
        if not self._silent:
            self._events.emit(self._pid, "text", text=text, label=self._label)

    def spent(self, model: Model, prompt: int) -> tuple[int, int]:
        """(tokens, micros) of an attempt that broke off: nothing if nothing had come."""
        if not self._text:
            return 0, 0
        output = model.count("".join(self._text))
        return prompt + output, _cost(model, prompt, output)


def _cost(model: Model, input_tokens: int, output_tokens: int) -> int:
    """Millionths of a dollar: prices are dollars for a million tokens. Rounded up."""
    exact = input_tokens * model.price[0] + output_tokens * model.price[1]
    return int(-(-exact // 1))


async def _ask(model: Model, request: ThinkRequest, seconds: float | None) -> Thought:
    """A thought that makes sense, while there is time. What else a driver does is a ModelError."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            thought = await model.think(request)
        counts = (thought.input_tokens, thought.cached_tokens, thought.output_tokens)
        texts = [thought.text, *(call.name for call in thought.calls)]
        if all(isinstance(text, str) for text in texts) and 0 <= min(counts) <= max(counts) < MOST:
            return thought
        reason = "its answer, or the tokens it counted, make no sense"
    except KernelError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        if limit.expired():
            why = "the time of its budget, or of an ancestor's, is used up."
            raise BudgetExceeded(why) from None
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
            raise
        reason = f"{type(error).__name__}: {error}"
    raise ModelError(f"the model {model.name} failed: {reason}.")
