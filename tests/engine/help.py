"""What tests of generating share: prompts, and what the plain loop makes of them."""

import random
from collections.abc import Sequence

from cabinos.engine.generate import generate
from cabinos.engine.model import Model
from cabinos.engine.request import Completion
from cabinos.engine.sampling import SamplingParams
from cabinos.engine.tokenizer import Tokenizer

PATIENCE = 60.0  # seconds a test waits before it calls a request lost


def words(seed: int, count: int) -> list[int]:
    return random.Random(seed).choices(range(300), k=count)


def tokens_of(completion: Completion) -> tuple[int, ...]:
    return completion.choices[0].tokens


def alone(
    model: Model, tokenizer: Tokenizer, prompt: Sequence[int], params: SamplingParams
) -> tuple[int, ...]:
    """What the plain loop generates."""
    return tuple(t for delta in generate(model, tokenizer, prompt, params) for t in delta.tokens)
