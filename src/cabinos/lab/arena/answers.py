"""What the contestants said, in a file that only grows: a killed run goes on where it was.

An answer is of one model (by the hash of its weights), to one prompt, under the settings that the
file was begun with. An answer to a case of an evaluation suite is a score instead of a text.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from cabinos.kernel.driver import Message, Model, ThinkRequest
from cabinos.kernel.errors import ContextOverflow, ModelError
from cabinos.lab.arena.contestants import Contestant
from cabinos.lab.arena.errors import ArenaError
from cabinos.lab.arena.prompts import Prompt, is_right
from cabinos.lab.comparisons.log import Log, read_log
from cabinos.lab.evaluate.suite import Brain, Case, Suite

__all__ = [
    "Answer",
    "Answers",
    "Settings",
    "answer_all",
    "answer_suite",
    "case_id",
    "cost",
    "read_answers",
]

MARGIN = 8  # tokens that a message may take beyond its text, where a model does not say
Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How everybody in an arena answers."""

    max_tokens: int = 512
    temperature: float | None = None  # None: each model's own
    seed: int = 0
    tools: bool = False  # as Cabin's brain, with its devices, and without chance


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model said to one prompt."""

    model: str
    hash: str
    prompt: str  # its id
    category: str
    turns: tuple[str, ...]  # of the user
    said: tuple[str, ...]  # to each of them; nothing of a case of a suite
    score: float | None = None  # what could be verified
    trouble: str = ""  # why it could not answer, if that is the model's own fault
    seconds: float = 0.0
    tokens: int = 0  # that were written

    @property
    def messages(self) -> tuple[dict[str, str], ...]:
        """What follows the first turn, as messages: answers, and further turns."""
        found: list[dict[str, str]] = []
        for number, text in enumerate(self.said):
            if number:
                found.append({"role": "user", "content": self.turns[number]})
            found.append({"role": "assistant", "content": text})
        return tuple(found)


class Answers:
    """The answers of an arena, to which more can be added; a context manager, as `Log` is."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._log = Log(folder / "answers.jsonl", {"log": "answers", **asdict(settings)})
        self.settings = settings
        try:
            self.found = _table(self._log.entries, self._log.path)
        except BaseException:
            self._log.close()
            raise

    def add(self, answer: Answer) -> None:
        """Keeps an answer, for good."""
        self._log.append(asdict(answer))
        self.found[answer.model, answer.prompt] = answer

    def verify(self, contestant: Contestant) -> None:
        """Raises ArenaError if another model has answered under this name."""
        for answer in self.found.values():
            if answer.model == contestant.name and answer.hash != contestant.hash:
                raise ArenaError(
                    f"{contestant.name}: another model has answered under this name. Give this one "
                    f"a name of its own in arena.toml: [{contestant.name}-2] model = "
                    f'"{contestant.name}".'
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()


def read_answers(folder: Path) -> dict[tuple[str, str], Answer]:
    """The answers so far by (model, prompt), also while more are made."""
    path = folder / "answers.jsonl"
    return _table(read_log(path, "answers")[1], path)


def _table(entries: Iterable[Mapping[str, Any]], path: Path) -> dict[tuple[str, str], Answer]:
    found = {}
    for number, entry in enumerate(entries, 2):
        try:
            lists = {key: tuple(entry[key]) for key in ("turns", "said")}
            answer = Answer(**{**entry, **lists})
        except (KeyError, TypeError):
            raise ArenaError(f"{path}, line {number}: not an answer.") from None
        found[answer.model, answer.prompt] = answer
    return found


# ---- Asking --------------------------------------------------------------------------------------


async def answer_all(
    contestant: Contestant, prompts: Sequence[Prompt], answers: Answers, told: Told
) -> None:
    """Asks what this contestant was not asked yet, as many at once as it has slots.

    Raises ModelError if it cannot be asked; what it has answered until then is kept.
    """
    answers.verify(contestant)
    queue = [prompt for prompt in prompts if (contestant.name, prompt.id) not in answers.found]
    left = iter(queue)

    async def work() -> None:
        for prompt in left:  # shared: each worker takes the next
            answers.add(await _answer(contestant, prompt, answers.settings))
            told(1)

    await _together([work() for _ in range(min(contestant.model.slots, len(queue)))])


async def answer_suite(
    contestant: Contestant, suite: Suite, cases: Sequence[Case], answers: Answers, told: Told
) -> None:
    """The same with cases of an evaluation suite, which judges them; see `answer_all`."""
    answers.verify(contestant)
    name, seed = contestant.name, answers.settings.seed
    brain = Brain(contestant.model, seed=seed)
    left = iter([c for c in cases if (name, case_id(suite, c)) not in answers.found])

    async def work() -> None:
        for case in left:
            began = time.monotonic()
            (verdict,) = await suite.judge(brain, [case])
            if verdict.scores:  # a case that counts
                seconds = round(time.monotonic() - began, 3)
                answers.add(
                    Answer(
                        name,
                        contestant.hash,
                        case_id(suite, case),
                        f"{suite.name}/{case.group}",
                        (case.id,),
                        (),
                        float(next(iter(verdict.scores.values()))),
                        seconds=seconds,
                    )
                )
            told(1)

    await _together([work() for _ in range(suite.workers)])


def case_id(suite: Suite, case: Case) -> str:
    """What a case is called among the prompts."""
    return f"{suite.name}/{case.id}"


async def _together(works: Sequence[Any]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _answer(contestant: Contestant, prompt: Prompt, settings: Settings) -> Answer:
    began = time.monotonic()
    trouble = ""
    try:
        if settings.tools:
            said, tokens = await _converse(contestant.model, prompt), 0
        else:
            said, tokens = await _think(contestant.model, prompt, settings)
    except ContextOverflow as error:  # its window is too small: that is the model's own fault
        said, tokens, trouble = ("",) * len(prompt.turns), 0, str(error)
    score = None if prompt.check is None else float(is_right(prompt.check, said[-1]))
    return Answer(
        contestant.name,
        contestant.hash,
        prompt.id,
        prompt.category,
        prompt.turns,
        said,
        score,
        trouble,
        round(time.monotonic() - began, 3),
        tokens,
    )


async def _think(model: Model, prompt: Prompt, settings: Settings) -> tuple[tuple[str, ...], int]:
    """(what it says to each turn, tokens), asked as it is: no tools, no instructions."""
    messages: list[Message] = []
    said: list[str] = []
    tokens = 0
    for turn in prompt.turns:
        messages.append(Message("user", turn))
        room = model.window - _measure(model, messages)
        if room < 1:
            raise ContextOverflow(f"{model.name}: the prompt does not fit its window.")
        thought = await model.think(
            ThinkRequest(
                messages,
                max_tokens=min(settings.max_tokens, room),
                temperature=settings.temperature,
                seed=settings.seed,
            )
        )
        said.append(thought.text)
        messages.append(Message("assistant", thought.text))
        tokens += thought.output_tokens
    return tuple(said), tokens


def _measure(model: Model, messages: Sequence[Message]) -> int:
    measure: Callable[[Sequence[Message]], int] | None = getattr(model, "measure", None)
    if measure is not None:
        return measure(messages)
    return sum(model.count(message.text) + MARGIN for message in messages)


async def _converse(model: Model, prompt: Prompt) -> tuple[str, ...]:
    """What it says to each turn as Cabin's brain, with its devices."""
    from cabinos.lab.evaluate.converse import Scene, converse

    talk = await converse(model, prompt.turns, Scene())
    if talk.trouble:
        raise ModelError(f"{model.name}: {prompt.id}: {talk.trouble}")
    return tuple(reply.text for reply in talk.replies)


def cost(model: Model, prompts: Sequence[Prompt], settings: Settings) -> float:
    """The most that asking these would cost, in dollars: every answer as long as it may be."""
    per_input, per_output = model.price
    if not per_input and not per_output:
        return 0.0
    dollars = 0.0
    for prompt in prompts:
        read = 0
        for number, turn in enumerate(prompt.turns):
            read += model.count(turn) + MARGIN
            given = read + number * settings.max_tokens
            dollars += given * per_input + settings.max_tokens * per_output
    return dollars / 1e6
