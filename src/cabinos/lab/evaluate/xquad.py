"""Suite `xquad`: questions about a paragraph, which lies in a file; answers by token F1.

The English part of XQuAD (Artetxe et al. 2020), scored as SQuAD scores. The file has a line for
each sentence. An answer may say where it was found, and quote: of `In Warsaw. parks.txt, line 2:
"…"` the first part is compared, and of a place with nothing but a quotation, that.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from cabinos.lab.evaluate.converse import Scene, converse
from cabinos.lab.evaluate.scoring import exact_match, token_f1
from cabinos.lab.evaluate.suite import Brain, Case, Kind, Need, Verdict
from cabinos.train.dialogues.script import World

__all__ = ["XQuAD", "bare"]

PLACE = re.compile(r"[\[(]?[\w./-]+\.txt(?:(?:,? line |:)\d+)?[\])]?:?")
QUOTE = re.compile(r'"([^"]*)"')
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\d\"“])")


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
            text = "\n".join(SENTENCE_END.split(row["context"]))
            scene = Scene(World(files={f"documents/{name}.txt": text}))
            talk = await converse(brain.model, [row["question"]], scene, seed=brain.seed)
            answer = bare(talk.answer)
            scores = {
                "F1": token_f1(answer, row["answers"]),
                "exact": float(exact_match(answer, row["answers"])),
            }
            note = "" if scores["exact"] else f"{talk.trouble or talk.answer}"[:400]
            verdicts.append(Verdict(scores, note))
        return verdicts


def bare(answer: str) -> str:
    """An answer without the place it was found at, and without the quotation, if it is more."""
    text, places = PLACE.subn("", answer)
    if not places:
        return answer
    own, quotes = QUOTE.sub("", text).strip(" .:,;\n"), QUOTE.findall(text)
    return own or (quotes[0] if quotes else text.strip())
