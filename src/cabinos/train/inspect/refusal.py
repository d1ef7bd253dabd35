"""The assistant's first decision: does it call a tool, or decline? One direction, found and turned.

The same four tools are shown with every request; half of the requests are for one of them, half
for nothing that is there. The direction between the two kinds is found as in `direction`, and added
with a strength of its own length, taken off, or removed from the whole stream. What counts is how
likely the model then begins a call, on requests that the direction was not made from. Words alone
decide here, without the grammar and the retrieval that help the assistant in its work.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from cabinos.train.errors import TrainError
from cabinos.train.inspect.direction import Direction, find_direction
from cabinos.train.inspect.hooks import steered, without_direction
from cabinos.train.inspect.subject import Subject

__all__ = ["Refusal", "refusal"]

CALLS = (
    "what is 15% of 80", "add milk to the shopping list", "convert 5 miles to kilometres",
    "remind me to water the plants tomorrow", "how much is 12 times 7", "put eggs on my list",
    "how many pounds are 3 kilograms", "remind me to call mum at 5pm", "what's 144 divided by 12",
    "add buy stamps to the todo list", "convert 100 fahrenheit to celsius", "what is 2 + 2",
    "remind me about the dentist on friday", "add bread to the shopping list",
    "how many feet are in 2 metres", "calculate 37 * 42", "remind me to pay the rent next monday",
    "put batteries on the shopping list", "convert 10 litres to gallons", "what is 1000 minus 387",
)  # fmt: skip
DECLINES = (
    "book me a flight to rome", "who won the world cup", "translate good morning into french",
    "order a pizza for tonight", "what's the weather like in paris", "call me a taxi",
    "write a poem about the sea", "play some jazz", "transfer 50 dollars to my brother",
    "what is the capital of peru", "turn off the lights in the kitchen", "explain black holes",
    "find me a good restaurant nearby", "how do I cook rice", "what's on tv tonight",
    "send a message to alice", "is my flight on time", "tell me about the french revolution",
    "renew my library books", "what is my bank balance",
)  # fmt: skip
TOOLS = ("calculate", "units_convert", "notes_todo_add", "notes_remind")
MARK = "<tool_call>"


@dataclass(frozen=True)
class Refusal:
    """How likely a call is, before and after: means over held-out requests of each kind."""

    direction: Direction
    chances: dict[str, tuple[float, float]]  # by what was done: (of calls, of declines)


def refusal(subject: Subject) -> Refusal:
    """Measure it. Raises TrainError if the model has no chat template or no token for a call."""
    tools = _tools()
    mark = subject.gguf and _mark(subject)
    if not isinstance(mark, int):
        raise TrainError(f"{subject.name}: no token {MARK}; give an assistant's GGUF file.")
    calls, declines = (
        [subject.chat(request, tools) for request in requests] for requests in (CALLS, DECLINES)
    )
    direction = find_direction(subject, calls, declines)
    vector, layer = direction.vector, direction.layer
    ways: dict[str, Callable[[], Any]] = {
        "as it is": nullcontext,
        "toward calls": lambda: steered(subject.model, layer, vector),
        "toward declining": lambda: steered(subject.model, layer, -vector),
        "direction removed": lambda: without_direction(subject.model, vector),
    }
    chances = {}
    for name, way in ways.items():
        with way():
            chances[name] = (
                _chance(subject, calls[1::2], mark), _chance(subject, declines[1::2], mark)
            )  # fmt: skip
    return Refusal(direction, chances)


def _mark(subject: Subject) -> int | None:
    from cabinos.engine.tokenizer import Tokenizer

    assert subject.gguf is not None
    return Tokenizer.from_gguf(subject.gguf).special_tokens.get(MARK)


def _tools() -> list[dict[str, Any]]:
    from cabinos.drivers import calculate, notes, units
    from cabinos.drivers.model.call_format import as_function

    found = {
        tool.name: as_function(tool)
        for module in (calculate, units, notes)
        for tool in module.driver({}).tools
    }
    return [found[name] for name in TOOLS]


@torch.no_grad()  # type: ignore[untyped-decorator]
def _chance(subject: Subject, prompts: Sequence[list[int]], mark: int) -> float:
    shares = [
        float(subject.model.logits(torch.tensor([ids]))[0, -1].softmax(-1)[mark]) for ids in prompts
    ]
    return sum(shares) / len(shares)
