"""What a policy does: conversations through the real engine, kept as token ids.

The policy's weights go to the engine as a GGUF file, and everything that the driver does at run
time it does here: template, tools shown, grammars. What comes back are the very ids that the
engine was given and drew; nothing is ever tokenized again. A draw that a grammar confined was made
among the tokens that it allowed, so the grammar is kept too: the probabilities that learning needs
are those of the draw, not of the model without it.
"""

import asyncio
import copy
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cabinos.train import lora
from cabinos.train.export import export_gguf

if TYPE_CHECKING:
    from cabinos.drivers.model.local import Answer, LocalModel
    from cabinos.kernel.driver import ThinkRequest, Thought
    from cabinos.train.model import Llama
    from cabinos.train.rl.config import RlConfig
    from cabinos.train.rl.task import Task

__all__ = ["Player", "Rollout", "Said", "Sample", "play", "pushed", "seed_of"]

AT_ONCE = 16  # conversations


@dataclass(frozen=True, slots=True)
class Said:
    """A stretch of a text that the policy drew."""

    start: int  # its first token
    logprobs: list[float]  # of its tokens under the model alone, as the engine computed them
    grammar: tuple[str, str] | None  # kind and source of what confined the draw


@dataclass(frozen=True, slots=True)
class Sample:
    """A text as the engine had it: prompts, what was said, results, what was said then."""

    ids: list[int]
    said: list[Said]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One way in which a case was played."""

    case: int
    reward: float
    text: str  # the last words
    samples: list[Sample]

    @property
    def tokens(self) -> int:
        """How many were drawn."""
        return sum(len(said.logprobs) for sample in self.samples for said in sample.said)


@dataclass
class Player:
    """The policy as the kernel's model, for one conversation; it remembers what it said."""

    model: "LocalModel"
    temperature: float
    seed: int
    most: int  # tokens of one thought
    answers: "list[Answer]" = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name, self.window, self.slots = self.model.name, self.model.window, self.model.slots
        self.local, self.price = True, (0.0, 0.0)

    def __getattr__(self, name: str) -> Any:  # tools_shown, assistant, overhead, measure, …
        return getattr(self.model, name)

    def count(self, text: str) -> int:
        """See `cabinos.kernel.driver.Model`."""
        return self.model.count(text)

    async def think(self, request: "ThinkRequest") -> "Thought":
        """See `cabinos.kernel.driver.Model`."""
        asked = replace(
            request,
            temperature=self.temperature,
            top_p=1.0,
            seed=seed_of(self.seed, len(self.answers)),
            max_tokens=min(request.max_tokens, self.most),
        )
        answer = await self.model.answer(asked, logprobs=True)
        self.answers.append(answer)
        return answer.thought

    def samples(self) -> list[Sample]:
        """What was said so far. A thought whose prompt goes on from the one before joins it."""
        made: list[Sample] = []
        for answer in self.answers:
            (choice,) = answer.completion.choices
            drawn = [float(token.logprob or 0) for token in choice.logprobs or ()]
            rule = answer.constraint
            said = Said(
                len(answer.prompt), drawn, None if rule is None else (rule.kind, rule.source)
            )
            ids = [*answer.prompt, *choice.tokens]
            if made and answer.prompt[: len(made[-1].ids)] == made[-1].ids:
                made[-1] = Sample(ids, [*made[-1].said, said])
            else:
                made.append(Sample(ids, [said]))
        return made


def seed_of(*parts: int) -> int:
    """A seed below 2^63 that the parts alone decide."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


@contextmanager
def pushed(
    model: "Llama", companion: Path, *, assistant: bool, kind: str, threads: int
) -> "Iterator[LocalModel]":
    """The engine with the policy's weights as they are now; adapters are merged on the way.

    `companion`, `kind` and `assistant` are as in `export_gguf`. Raises TrainError, EngineError.
    """
    from cabinos.drivers.model.local import LocalModel, LocalSettings

    plain = model
    if any(isinstance(module, lora.AdaptedLinear) for module in model.modules()):
        plain = copy.deepcopy(model)
        lora.merge(plain)
    with TemporaryDirectory(prefix="cabin-policy-") as folder:
        path = Path(folder) / "policy.gguf"
        export_gguf(plain, companion, path, kind, assistant=assistant)
        window = model.config.context
        settings = LocalSettings(path, window, AT_ONCE, kv_tokens=AT_ONCE * window, threads=threads)
        local = LocalModel("policy", settings)
        try:
            yield local
        finally:
            asyncio.run(local.close())


def play(
    local: "LocalModel",
    task: "Task",
    orders: Sequence[tuple[int, int]],
    config: "RlConfig",
    *,
    held: bool = False,
    temperature: float | None = None,
) -> list[Rollout]:
    """Plays each (case, seed), several at once; the result does not depend on how many.

    `temperature`: not the configured one.
    """
    heat = config.temperature if temperature is None else temperature

    async def one(number: int, seed: int, room: asyncio.Semaphore) -> Rollout:
        async with room:
            player = Player(local, heat, seed, config.answer_tokens)
            reward = await task.play(player, task.case(number, held=held))
        text = player.answers[-1].thought.text if player.answers else ""
        return Rollout(number, reward, text, player.samples())

    async def everything() -> list[Rollout]:
        room = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(one(*order, room)) for order in orders]
        return [job.result() for job in jobs]

    with task.stage():
        try:
            return asyncio.run(everything())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
