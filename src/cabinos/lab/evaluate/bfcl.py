"""Suite `bfcl`: functions never seen, from their schema alone.

The part `simple_python` of the Berkeley function-calling leaderboard (Patil et al. 2025): one
request, one function. A call is right as the leaderboard's own checker says: the name, no argument
missing or too many, each value one of those that count as right. The function is shown as a tool,
and nothing runs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from cabinos.kernel.driver import Tool
from cabinos.lab.evaluate.converse import Scene, converse
from cabinos.lab.evaluate.errors import EvalError
from cabinos.lab.evaluate.suite import Brain, Case, Kind, Need, Verdict

__all__ = ["Bfcl", "fault_of", "schema_of", "tool_of"]

FILE = "BFCL_v4_simple_python.json"
TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}  # theirs, and JSON's
LEFT_OUT = str.maketrans("", "", " ,./-_*^()")  # of texts, before they are compared


class Bfcl:
    """Share of requests with the right call."""

    name = "bfcl"
    measures: ClassVar[Mapping[str, Kind]] = {"right call": "share", "right function": "share"}
    batch, workers = 1, 8
    needs: Need = "model"

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        asked = [row for row in rows if row["file"].endswith(f"data/{FILE}")]
        golds = {
            row["id"]: row["ground_truth"]
            for row in rows
            if row["file"].endswith(f"possible_answer/{FILE}")
        }
        if missing := [row["id"] for row in asked if row["id"] not in golds]:
            raise EvalError(f"bfcl: what is right is not there for {missing[0]}.")
        self._cases = [
            Case(row["id"], "simple", (row["question"][0], row["function"][0], golds[row["id"]][0]))
            for row in asked
        ]

    def cases(self) -> Sequence[Case]:
        """See `Suite`."""
        return self._cases

    async def judge(self, brain: Brain, cases: Sequence[Case]) -> Sequence[Verdict]:
        """See `Suite`."""
        assert brain.model is not None
        verdicts = []
        for case in cases:
            messages, function, gold = case.data
            says = [message["content"] for message in messages if message["role"] == "user"]
            scene = Scene(tools=(tool_of(function),), only=(function["name"],), steps=1)
            talk = await converse(brain.model, says[-1:], scene, seed=brain.seed)
            calls = talk.calls[:1]
            problem = talk.trouble if not calls else ""
            if not problem:
                problem = fault_of(calls[0].name, calls[0].arguments, gold) if calls else "no call"
            named = bool(calls) and calls[0].name in gold
            note = f"{problem} | {talk.answer}"[:400] if problem else ""
            scores = {"right call": float(not problem), "right function": float(named)}
            verdicts.append(Verdict(scores, note))
        return verdicts


def tool_of(function: Mapping[str, Any]) -> Tool:
    """The function as a tool that does nothing."""

    async def run(_context: object, **_arguments: Any) -> str:
        return "Done."

    return Tool(
        function["name"], function["description"], schema_of(function["parameters"]), run, "pure"
    )


def schema_of(theirs: Any) -> Any:
    """A schema with Python's names of types as a JSON schema."""
    if isinstance(theirs, Mapping):
        schema = {key: schema_of(value) for key, value in theirs.items()}
        if isinstance(kind := schema.get("type"), str):
            if (known := TYPES.get(kind, kind)) is None:
                del schema["type"]
            else:
                schema["type"] = known
        return schema
    return [schema_of(value) for value in theirs] if isinstance(theirs, list) else theirs


def fault_of(name: str, arguments: Mapping[str, Any], gold: Mapping[str, Any]) -> str:
    """What is wrong with a call, "" if nothing is: `gold` is {name: {argument: [right, …]}}.

    An empty text among the right values says that the argument may be left out.
    """
    if name not in gold:
        return f"another function, {name}"
    right = gold[name]
    for argument, value in arguments.items():
        if argument not in right:
            return f"{argument} is too many"
        if not any(_equal(value, one) for one in right[argument]):
            return f"{argument} is {value!r}, not {right[argument]!r}"
    missing = [key for key, values in right.items() if key not in arguments and "" not in values]
    return f"{missing[0]} is missing" if missing else ""


def _equal(value: Any, right: Any) -> bool:
    if isinstance(value, str) and isinstance(right, str):
        return _plain(value) == _plain(right)
    if isinstance(value, bool) or isinstance(right, bool):
        return value is right
    if isinstance(value, list) and isinstance(right, list):
        return len(value) == len(right) and all(map(_equal, value, right))
    if isinstance(value, Mapping) and isinstance(right, Mapping):
        return set(value) <= set(right) and all(
            any(_equal(value[key], one) for one in options) if key in value else "" in options
            for key, options in right.items()
        )
    return bool(value == right)


def _plain(text: str) -> str:
    return text.translate(LEFT_OUT).lower().replace("'", '"')
