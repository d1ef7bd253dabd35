"""A program: Python in the Monty interpreter, paused at every call it makes.

Between two syscalls a program is bytes in its process's row, a few kilobytes; it can wait for
days, through restarts, and be forked. The interpreter runs in worker processes of its own with
limits on time, memory and recursion; it has no file, no socket and no environment, only the
syscalls and tools that its process may use, which it calls like functions:

    text = read("mail/today.txt")
    answer = think("Summarise: " + text)
    write("out/summary.txt", answer)
"""

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cabinos.kernel.image import Call, Exit, Result, Step, Syscall

if TYPE_CHECKING:
    from pydantic_monty import (
        AsyncFunctionSnapshot,
        AsyncMonty,
        AsyncMontySession,
        CollectString,
        MontyComplete,
    )

__all__ = ["Code"]

MEMORY = 256 << 20  # bytes of heap
TURN = 10.0  # seconds of computing between two calls
OUTPUT = 64_000  # characters of printed text that are kept
CALLS = 100_000  # calls in one turn of the interpreter; a pause starts the count again
DEPTH = 100  # of a value that a program passes on
BITS = 14_000  # of an integer; Python writes down no longer ones
LIMITS = {"max_memory": MEMORY, "max_turn_duration_secs": TURN, "max_suspensions": CALLS}


class Code:
    """State: `source` until it runs, then `program` (paused, base64) and what it printed."""

    def __init__(self) -> None:
        self._pool: AsyncMonty | None = None
        self._opening = asyncio.Lock()

    @staticmethod
    def start(*, source: str, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The first state. `inputs` are JSON values the program finds as global names."""
        state: dict[str, Any] = {"source": source}
        if inputs:
            state["inputs"] = dict(inputs)
        return state

    async def resume(self, state: dict[str, Any], results: Mapping[str, Result] | None) -> Step:
        """See `Image.resume`."""
        import pydantic_monty as monty

        pool = await self._workers()
        printed = monty.CollectString(max_bytes=OUTPUT * 4)
        began = time.monotonic()
        try:
            async with pool.checkout(limits=LIMITS) as session:  # type: ignore[arg-type]
                began = time.monotonic()  # to wait for a worker costs nothing
                paused = await _advance(session, state, results, printed)
                if isinstance(paused, monty.MontyComplete):
                    kept, action = _finished(state, printed.output, paused.output)
                else:
                    call = _call(str(paused.function_name), paused.args, paused.kwargs)
                    kept, action = (
                        {"program": base64.b64encode(paused.dump()).decode()},
                        Syscall({"0": call}),
                    )
                    if out := _clip(state.get("out", "") + printed.output):
                        kept["out"] = out
        except (monty.MontyError, TypeError, ValueError) as error:
            text = _joined(state, printed.output, str(error))
            kept, action = {"out": state.get("out", "")}, Exit(text, ok=False)
        action.seconds = time.monotonic() - began
        return kept, action

    async def _workers(self) -> "AsyncMonty":
        async with self._opening:
            if self._pool is None:
                from pydantic_monty import AsyncMonty

                pool = AsyncMonty(min_processes=1, max_processes=2)
                await pool.__aenter__()
                self._pool = pool
        return self._pool

    async def close(self) -> None:
        """Ends the interpreter's workers."""
        if self._pool is not None:
            await self._pool.__aexit__(None, None, None)
            self._pool = None


async def _advance(
    session: "AsyncMontySession",
    state: Mapping[str, Any],
    results: Mapping[str, Result] | None,
    printed: "CollectString",
) -> "MontyComplete | AsyncFunctionSnapshot":
    """Runs a program from where it was to its end or its next call."""
    import pydantic_monty as monty

    snapshot: Any
    if results is None:
        snapshot = await session.feed_start(
            state["source"], inputs=state.get("inputs"), print_callback=printed
        )
    else:
        program = base64.b64decode(state["program"])
        paused = await session.load_snapshot(program, print_callback=printed)
        assert isinstance(paused, monty.AsyncFunctionSnapshot)
        snapshot = await paused.resume(_external(results["0"]))
    while True:
        if isinstance(snapshot, monty.MontyComplete):
            return snapshot
        if isinstance(snapshot, monty.AsyncNameLookupSnapshot):
            snapshot = await snapshot.resume()  # a NameError, in the program
        elif isinstance(snapshot, monty.AsyncFutureSnapshot):
            raise TypeError("await is not needed: calls return their values.")
        elif snapshot.is_os_function:
            snapshot = await snapshot.resume_not_handled()
        else:
            assert isinstance(snapshot, monty.AsyncFunctionSnapshot)
            return snapshot


def _external(result: Result) -> Any:
    """What the call returns, or raises. A thought is its text to a program."""
    value = result.value
    if result.ok and isinstance(value, dict) and value.keys() == {"text", "calls", "finish"}:
        value = value["text"]
    if result.ok:
        return {"return_value": value}
    return {"exc_type": "RuntimeError", "message": str(result.value)}


def _call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """A call as the kernel takes it; positional arguments are named there."""
    arguments = {str(i): _plain(value) for i, value in enumerate(args)}
    arguments |= {key: _plain(value) for key, value in kwargs.items()}
    return Call(name, arguments)


def _plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON holds it: tuples and sets as lists, the rest as text.

    Raises ValueError if it is nested too deeply, or an integer too long to be written down.
    """
    if depth > DEPTH:
        raise ValueError("a value is nested too deeply to be passed on.")
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, int) and value.bit_length() > BITS:
        raise ValueError("an integer is too long to be passed on.")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def _finished(state: Mapping[str, Any], printed: str, value: Any) -> Step:
    out = _clip(state.get("out", "") + printed)
    plain = _plain(value)
    if plain is None:
        return {}, Exit(out.rstrip("\n"))
    shown = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    if out:
        return {}, Exit(f"{out.rstrip()}\n{shown}")
    return {}, Exit(shown, value=plain)


def _joined(state: Mapping[str, Any], printed: str, error: str) -> str:
    out = _clip(state.get("out", "") + printed).rstrip()
    return f"{out}\n{error}" if out else error


def _clip(text: str) -> str:
    if len(text) <= OUTPUT:
        return text
    half = OUTPUT // 2
    return f"{text[:half]}\n[… {len(text) - OUTPUT} characters are not kept …]\n{text[-half:]}"
