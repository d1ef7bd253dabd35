"""The syscall `think`: pages in, an answer out, and everything that can go wrong on the way.

    mail → room → turn → reserve → commit → model → settle → page

What the thought may cost at most is reserved and committed before the model is asked, so no crash
lets a process think for free, and none overshoots its budget by more than the call in flight.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from cabinos.kernel import budget
from cabinos.kernel.driver import Model, ThinkRequest, Thought, ToolCall
from cabinos.kernel.errors import BudgetExceeded, ContextOverflow, ModelError
from cabinos.kernel.memory import Offer, thought_meta
from cabinos.kernel.outcome import Outcome, Record
from cabinos.kernel.process import Process

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine

ANSWER = 1024  # tokens of an answer, unless asked for otherwise
LEAST_ANSWER = 16  # with fewer tokens left in the budget, thinking is not worth it
ATTEMPTS = 4  # at a model that fails in a way that may pass
BACKOFF = 0.25  # seconds before the second attempt; doubles with each
SHRINK = 0.7  # of the room, each time a model finds a request too long


async def think(kernel: "Machine", process: Process, record: Record) -> Outcome:
    """Answers from the process's pages; the answer becomes a page."""
    arguments = record["a"]
    model = kernel.model(process.model)
    tools = kernel.offered(process)
    answer = min(arguments.get("max_tokens") or ANSWER, model.window // 4)
    room = kernel.memory.room(model, tools, answer)
    if (say := arguments.get("say")) and not record.get("said"):
        record["said"] = True
        page = kernel.pages.put("user", say, tokens=model.count(say))
        kernel.memory.append(process, page, model, room)
    kernel.take_mail(process, model, room)
    if kernel.memory.resident(process) > room:  # another model, or other tools, than before
        kernel.memory.evict(process, room)
    thought = await _ask_model(kernel, process, record, model, tools, answer, room)
    calls = tuple(
        ToolCall(f"c{process.step}-{number}", call.name, call.arguments, call.raw)
        for number, call in enumerate(thought.calls)
    )
    theirs = [call.id for call in calls if process.capabilities.of_client(call.name)]
    page = kernel.pages.put(
        "assistant",
        thought.text,
        tokens=thought.output_tokens or model.count(thought.text),
        label=process.label,
        meta=thought_meta(calls, thought.finish, theirs),
    )
    kernel.memory.append(process, page, model, room)
    if not calls:
        process.result = page.id
    value = {
        "text": page.text,
        "calls": [[call.id, call.name, call.arguments, call.raw] for call in calls],
        "finish": thought.finish,
    }
    return Outcome(value, page=page.id)


async def _ask_model(
    kernel: "Machine",
    process: Process,
    record: Record,
    model: Model,
    tools: Offer,
    answer: int,
    room: int,
) -> Thought:
    """Asks until there is an answer: again after what may pass, with fewer pages if too long."""
    attempt = 0
    while True:
        attempt += 1
        try:
            return await _one_attempt(kernel, process, record, model, tools, answer)
        except ContextOverflow as error:
            if attempt >= ATTEMPTS:
                raise
            room = int(room * SHRINK)  # its tokens are not as we count them
            kernel.memory.evict(process, room)
            reason = str(error)
        except ModelError as error:
            if not error.retryable or attempt >= ATTEMPTS:
                raise
            reason = str(error)
            await asyncio.sleep(BACKOFF * 2 ** (attempt - 1))
        kernel.events.emit(process.pid, "retry", reason=reason)


async def _one_attempt(
    kernel: "Machine",
    process: Process,
    record: Record,
    model: Model,
    tools: Offer,
    answer: int,
) -> Thought:
    arguments = record["a"]
    queue = kernel.queues[model.name]
    lease = queue.try_acquire(process) or await queue.acquire(process)
    try:
        prompt = model.window - answer - kernel.memory.room(model, tools, answer)
        prompt += kernel.memory.resident(process)
        accounts = process.accounts()
        tokens = budget.affordable(accounts, prompt + answer, prompt + LEAST_ANSWER)
        reserved = (tokens, _cost(model, prompt, tokens - prompt))
        budget.reserve(accounts, *reserved)
        kernel.save_lineage(process)
        meter = _Meter(kernel, process)
        request = ThinkRequest(
            kernel.memory.assemble(process),
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
        )
        spent, began = reserved, time.monotonic()
        try:
            await kernel.store.commit()
            thought = await _within_budget(accounts, model.think(request))
            used = thought.input_tokens or prompt
            spent = (used + thought.output_tokens, _cost(model, used, thought.output_tokens))
        except (ModelError, asyncio.CancelledError):  # costs what came out before
            spent = meter.spent(model, prompt)
            raise
        finally:
            seconds = time.monotonic() - began
            budget.settle(accounts, reserved, spent, seconds)
            kernel.save_lineage(process)
        fresh = thought.input_tokens - thought.cached_tokens
        queue.charge(lease.root, lease.nice, fresh, thought.output_tokens - lease.booked)
        record["cost"] = {
            "in": thought.input_tokens,
            "cached": thought.cached_tokens,
            "out": thought.output_tokens,
            "micros": spent[1],
            "ms": round(seconds * 1000, 1),
        }
        return thought
    finally:
        lease.release()


class _Meter:
    """Passes text on as it comes, and knows how much there was."""

    def __init__(self, kernel: "Machine", process: Process) -> None:
        self._events = kernel.events
        self._pid = process.pid
        self._text: list[str] = []
        self.leased = False

    def emit(self, text: str) -> None:
        self._text.append(text)
        self._events.emit(self._pid, "text", text=text)

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


async def _within_budget(
    accounts: list[tuple[int, budget.Account]], thinking: Awaitable[Thought]
) -> Thought:
    """Waits for the thought for as long as every account has time left."""
    limits = [(a.seconds_left, pid) for pid, a in accounts if a.seconds_left is not None]
    if not limits:
        return await thinking
    left, pid = min(limits)
    try:
        async with asyncio.timeout(left):
            return await thinking
    except TimeoutError:
        raise BudgetExceeded(f"process {pid} has used all of its time.") from None
