"""Suite `xquad`: questions about a paragraph, which lies in a file; answers by token F1.

The English part of XQuAD (Artetxe et al. 2020), scored as SQuAD scores. Where an answer says where
it was found, as (folder/file.txt:12), that is left out before it is compared.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from cabinos.lab.evaluate.converse import Scene, converse
from cabinos.lab.evaluate.scoring import exact_match, token_f1
from cabinos.lab.evaluate.suite import Brain, Case, Kind, Need, Verdict
from cabinos.train.dialogues.script import World

__all__ = ["XQuAD", "without_source"]

SOURCE = re.compile(r"[\[(]?\b[\w-]+/[\w./-]+\.txt(?:[:,]? ?(?:line )?\d+)?[\])]?")


class XQuAD:
    """Mean F1 and the share of exact answers."""

    name = "xquad"
    measures: ClassVar[Mapping[str, Kind]] = {"F1": "mean", "exact": "share"}
    batch, workers = 1, 8
    needs: Need = "model"

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self._cases = [
            Case(f"{number} {row['question']}", "", row) for number, row in enumerate(rows)
        ]

    def cases(self) -> Sequence[Case]:
        """See `Suite`."""
        return self._cases

    async def judge(self, brain: Brain, cases: Sequence[Case]) -> Sequence[Verdict]:
        """See `Suite`."""
        assert brain.model is not None
        verdicts = []
        for case in cases:
            row = case.data
            name = re.sub(r"\W+", "-", row["title"]).strip("-").lower()
            scene = Scene(World(files={f"documents/{name}.txt": row["context"]}))
            talk = await converse(brain.model, [row["question"]], scene, seed=brain.seed)
            answer = without_source(talk.answer)
            scores = {
                "F1": token_f1(answer, row["answers"]),
                "exact": float(exact_match(answer, row["answers"])),
            }
            note = "" if scores["exact"] else f"{talk.trouble or talk.answer}"[:400]
            verdicts.append(Verdict(scores, note))
        return verdicts


def without_source(answer: str) -> str:
    """An answer without the place it was found at."""
    return SOURCE.sub("", answer).strip()
