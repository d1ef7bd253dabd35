"""Suite `templates`: conversations of templates that no training ever saw, by their end state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, ClassVar

from cabinos.kernel.driver import Model, Tool
from cabinos.lab.evaluate.converse import Scene, converse, devices
from cabinos.lab.evaluate.endstate import Prompted, compare
from cabinos.lab.evaluate.suite import Brain, Case, Kind, Need, Verdict
from cabinos.train.dialogues.script import Call, Script

if TYPE_CHECKING:
    from cabinos.train.dialogues.fillers import Fillers

__all__ = ["Performance", "ScriptFails", "Templates", "perform"]

COUNT = 2000
CHANCE = ("random_roll", "random_flip", "random_pick")


@dataclass(frozen=True, slots=True)
class Performance:
    """A script, and when it takes place."""

    script: Script
    now: datetime

    @property
    def scene(self) -> Scene:
        """Where it takes place; the dice fall alike each time, if there are any."""
        calls = [call for turn in self.script.turns for call in turn.calls]
        rolls = any(isinstance(call, Call) and call.name in CHANCE for call in calls)
        return Scene(self.script.world, self.now, 1 if rolls else None, self.script.tools)


class Templates:
    """Share of conversations that end as they should, by family."""

    name = "templates"
    measures: ClassVar[Mapping[str, Kind]] = {"end state": "share"}
    batch, workers = 1, 8
    needs: Need = "model"

    def __init__(self, performances: Sequence[tuple[str, Performance]]) -> None:
        self._cases = [
            Case(f"{number} {performance.script.template}", family, performance)
            for number, (family, performance) in enumerate(performances)
        ]

    @classmethod
    def held_out(cls, seed: int, count: int = COUNT, data: Path | None = None) -> "Templates":
        """`count` conversations of the templates that are held out, in the families' shares.

        `data`: a data folder, for more words.
        """
        performances = []
        for number in range(count):
            rng = Random(f"{seed}/held out/{number}")  # noqa: S311 - not for secrets
            performances.append(cls.one(rng, True, data))
        return cls(performances)

    @staticmethod
    def one(rng: Random, held_out: bool, data: Path | None) -> tuple[str, Performance]:
        """The family and a conversation of it, drawn from `rng`."""
        from cabinos.train.dialogues.families import SHARES, family
        from cabinos.train.dialogues.generate import DAYS, FIRST

        name = rng.choices(list(SHARES), list(SHARES.values()))[0]
        template = rng.choice(family(name, held_out))
        script = template.write(rng, _fillers(data, held_out))
        now = FIRST + timedelta(days=rng.randrange(DAYS), seconds=rng.randrange(86_400))
        return name, Performance(script, now)

    def cases(self) -> Sequence[Case]:
        """See `Suite`."""
        return self._cases

    async def judge(self, brain: Brain, cases: Sequence[Case]) -> Sequence[Verdict]:
        """See `Suite`."""
        assert brain.model is not None
        verdicts = []
        for case in cases:
            try:
                problem, answer = await perform(brain.model, case.data, brain.seed)
            except ScriptFails as error:
                verdicts.append(Verdict({}, str(error)))
                continue
            says = case.data.script.turns[-1].says
            note = f"{problem} | {says} -> {answer}"[:400] if problem else ""
            verdicts.append(Verdict({"end state": float(not problem)}, note))
        return verdicts


class ScriptFails(Exception):
    """A mistake in a template: no model is to blame."""


async def perform(model: Model, performance: Performance, seed: int) -> tuple[str, str]:
    """What is wrong with how the conversation ended ("" if nothing is), and the last answer.

    Raises ScriptFails if even a model that knows the script cannot end it.
    """
    script, scene = performance.script, performance.scene
    says = [turn.says for turn in script.turns]
    gold = await converse(Prompted(script), says, scene)
    if gold.trouble:
        raise ScriptFails(f"the script itself fails: {gold.trouble}")
    talk = await converse(model, says, scene, seed=seed)
    return compare(script, _pure(devices(scene)), gold, talk), talk.answer


@cache
def _fillers(data: Path | None, held_out: bool) -> "Fillers":
    from cabinos.train.dialogues.fillers import Fillers

    return Fillers(data, held_out=held_out)


def _pure(tools: Sequence[Tool]) -> frozenset[str]:
    return frozenset(tool.name for tool in tools if tool.effect == "pure") | {"exec"}
