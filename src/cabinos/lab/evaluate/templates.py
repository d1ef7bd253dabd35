"""Suite `templates`: conversations of templates that no training ever saw, by their end state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import ClassVar

from cabinos.kernel.driver import Tool
from cabinos.lab.evaluate.converse import CHANCES, Scene, converse, devices
from cabinos.lab.evaluate.endstate import Prompted, compare
from cabinos.lab.evaluate.suite import Brain, Case, Kind, Need, Verdict
from cabinos.train.dialogues.script import Script

__all__ = ["Performance", "Templates"]

COUNT = 2000


@dataclass(frozen=True, slots=True)
class Performance:
    """A script, when it takes place, and what decides its chances."""

    script: Script
    now: datetime
    chance: int


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
    def held_out(cls, seed: int, count: int = COUNT) -> "Templates":
        """`count` conversations of the templates that are held out, in the families' shares."""
        from cabinos.train.dialogues.families import SHARES, family
        from cabinos.train.dialogues.fillers import Fillers
        from cabinos.train.dialogues.generate import DAYS, FIRST

        fillers = Fillers(None, held_out=True)
        performances = []
        for number in range(count):
            rng = Random(f"{seed}/held out/{number}")  # noqa: S311 - not for secrets
            name = rng.choices(list(SHARES), list(SHARES.values()))[0]
            script = rng.choice(family(name, held_out=True)).write(rng, fillers)
            now = FIRST + timedelta(days=rng.randrange(DAYS), seconds=rng.randrange(86_400))
            performances.append((name, Performance(script, now, rng.randrange(CHANCES))))
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
            script = performance.script
            scene = Scene(script.world, performance.now, performance.chance, script.tools)
            says = [turn.says for turn in script.turns]
            gold = await converse(Prompted(script), says, scene)
            talk = await converse(brain.model, says, scene, seed=brain.seed)
            problem = compare(script, _pure((*devices(scene), *script.tools)), gold, talk)
            note = f"{problem} | {says[-1]} -> {talk.answer}"[:400] if problem else ""
            verdicts.append(Verdict({"end state": float(not problem)}, note))
        return verdicts


def _pure(tools: Sequence[Tool]) -> frozenset[str]:
    return frozenset(tool.name for tool in tools if tool.effect == "pure") | {"exec"}
