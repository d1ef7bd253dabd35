"""Suite `templates`: conversations of templates that no training ever saw, by their end state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import ClassVar

from cabinos.kernel.driver import Tool
from cabinos.lab.evaluate.converse import Scene, converse, devices
from cabinos.lab.evaluate.endstate import Prompted, compare
from cabinos.lab.evaluate.suite import Brain, Case, Kind, Need, Verdict
from cabinos.train.dialogues.script import Call, Script

__all__ = ["Performance", "Templates"]

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
        from cabinos.train.dialogues.families import SHARES, family
        from cabinos.train.dialogues.fillers import Fillers
        from cabinos.train.dialogues.generate import DAYS, FIRST

        fillers = Fillers(data, held_out=True)
        performances = []
        for number in range(count):
            rng = Random(f"{seed}/held out/{number}")  # noqa: S311 - not for secrets
            name = rng.choices(list(SHARES), list(SHARES.values()))[0]
            script = rng.choice(family(name, held_out=True)).write(rng, fillers)
            now = FIRST + timedelta(days=rng.randrange(DAYS), seconds=rng.randrange(86_400))
            performances.append((name, Performance(script, now)))
        return cls(performances)

    def cases(self) -> Sequence[Case]:
        """See `Suite`."""
        return self._cases

    async def judge(self, brain: Brain, cases: Sequence[Case]) -> Sequence[Verdict]:
        """See `Suite`."""
        assert brain.model is not None
        verdicts = []
        for case in cases:
            performance: Performance = case.data
            script, scene = performance.script, performance.scene
            says = [turn.says for turn in script.turns]
            gold = await converse(Prompted(script), says, scene)
            if gold.trouble:  # a mistake in the template: no model is to blame
                verdicts.append(Verdict({}, f"the script itself fails: {gold.trouble}"))
                continue
            talk = await converse(brain.model, says, scene, seed=brain.seed)
            problem = compare(script, _pure(devices(scene)), gold, talk)
            note = f"{problem} | {says[-1]} -> {talk.answer}"[:400] if problem else ""
            verdicts.append(Verdict({"end state": float(not problem)}, note))
        return verdicts


def _pure(tools: Sequence[Tool]) -> frozenset[str]:
    return frozenset(tool.name for tool in tools if tool.effect == "pure") | {"exec"}
