"""Plan mode: the model plans once, from clean pages; then the kernel makes the calls.

    plan → grant → step → step → … → the chat goes on with the results

The model sees no result that nobody vouches for before its plan is fixed, so nothing that is read
can change which tools are called, nor an argument that is no hole (`kernel/plan.py`). If no plan
comes of it, the chat goes on as if none had been asked for: then every call is checked by itself.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from cabinos.kernel.errors import InvalidArguments
from cabinos.kernel.image import Call, Result, Step, Syscall
from cabinos.kernel.labels import Label
from cabinos.kernel.plan import Found, fill, validate

__all__ = ["PHASES", "STATE", "begin", "resume"]

PHASES = ("plan", "grant", "step")
# Of a chat's state: the plan's; calls held back for it; and how many thoughts there were before.
STATE = ("steps", "ids", "found", "items", "failed", "held", "thoughts")
OPTIONS = ("temperature", "top_p", "seed")  # of thinking; others are about the answer
MOST = 2048  # tokens of a plan
SHOWN = 4000  # characters of a step's result that the model is shown afterwards
HOW = (
    "Before anything else is read: which calls does the request need, from the first to the last? "
    'Call nothing now; answer with JSON alone: {"steps": [{"tool": name, "arguments": {…}}]}. '
    'An argument is a value, or is made of the results of earlier steps: {"result": n} is all that '
    'step n returns, {"field": [x, name]}, {"lookup": [x, field, "eq", value]}, {"filter": …}, '
    '{"max": [x, field]}, {"min": …}, {"at": [x, 0]}, {"count": x}, {"text": ["… {}", x]}. '
    "Who or what is acted on (recipients, addresses, files) must be words of the request, or be "
    "found like this. Content that has to be written from what is read comes from a step of the "
    "tool quarantine(instruction, data), with which a model without tools reads data and answers. "
    'A request that only reads, or cannot be planned, has the answer {"steps": []}.'
)
SCHEMA = {
    "type": "object",
    "properties": {
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "tool": {"type": "string"},
                    "arguments": {"type": "object"},
                    "for": {"type": "object"},
                    "most": {"type": "integer"},
                },
                "required": ["tool", "arguments"],
            },
        }
    },
    "required": ["steps"],
}


def begin(state: dict[str, Any]) -> Step:
    """Asks the model for a plan. A turn has one at most."""
    options = {k: v for k, v in (state.get("think") or {}).items() if k in OPTIONS}
    asked = {**options, "say": HOW, "schema": SCHEMA, "planning": True, "max_tokens": MOST}
    begun = {**state, "phase": "plan", "planned": True, "thoughts": state.get("steps", 0)}
    return begun, Syscall.one("think", **asked)


def resume(state: dict[str, Any], result: Result) -> Step | str:
    """The next step of the plan; or what the chat is to be told when it goes on."""
    phase = state["phase"]
    if phase == "plan":
        steps = _read(result.value["text"]) if result.ok else []
        if not steps:
            return ""
        return {**state, "phase": "grant", "steps": steps}, Syscall.one("grant", plan=steps)
    if phase == "grant":
        if not result.ok:
            return ""
        return _next({**state, "phase": "step", "ids": result.value, "found": [], "items": []})
    return _next(_settled(state, result))


def _read(text: str) -> list[dict[str, Any]]:
    """The steps in an answer, whatever stands around the JSON; [] if they are no plan."""
    found = re.search(r"\{.*\}", text, re.DOTALL)
    try:
        return validate(json.loads(found[0])["steps"]) if found else []
    except (InvalidArguments, ValueError, TypeError, KeyError, RecursionError):
        return []


def _settled(state: dict[str, Any], result: Result) -> dict[str, Any]:
    """The state with one more result."""
    number = len(state["found"])
    tool = state["steps"][number]["tool"]
    label = Label(result.label, result.readers, frozenset((tool,)))
    items = [*state["items"], result.value]
    if not result.ok:
        return {**state, "failed": f"step {number + 1}, {tool}: {result.value}"}
    if "for" not in state["steps"][number]:
        found = [result.value, label.to_json(), state["ids"].get(tool, [])]
        return {**state, "found": [*state["found"], found], "items": []}
    return {**state, "items": items}


def _next(state: dict[str, Any]) -> Step | str:
    results = [Found.of(value, Label.from_json(label), ids) for value, label, ids in state["found"]]
    if "failed" in state:
        return _told(state, results)
    while len(results) < len(state["steps"]):
        step = state["steps"][len(results)]
        try:
            item = None
            if "for" in step:
                of = fill({"x": step["for"]}, results)["x"]
                if len(state["items"]) == len(of.value):
                    ids = state["ids"].get(step["tool"], [])
                    names = [n for n in ids if n != "*"] + ["result"] * ("*" in ids)
                    names += ["item"] * (of.origin == "picked")
                    pairs = zip(of.value, state["items"], strict=True)
                    told = [{"item": one, "result": result} for one, result in pairs]
                    tool = Label("untrusted", None, frozenset((step["tool"],)))
                    results.append(Found.of(told, of.label.join(tool), names))
                    found = [told, results[-1].label.to_json(), names]
                    state = {**state, "found": [*state["found"], found], "items": []}
                    continue
                one = of.value[len(state["items"])]
                item = Found(one, of.label, picked=of.origin == "picked")
            values = fill(step["arguments"], results, item)
        except (InvalidArguments, TypeError) as error:
            return _told({**state, "failed": f"step {len(results) + 1}: {error}"}, results)
        facts = {name: [v.label.to_json(), v.origin] for name, v in values.items()}
        call = Call(step["tool"], {name: v.value for name, v in values.items()}, facts)
        return state, Syscall({"0": call})
    return _told(state, results)


def _told(state: Mapping[str, Any], results: list[Found]) -> str:
    """What the model is told of what came of its plan."""
    lines = ["The plan was carried out." if "failed" not in state else "The plan broke off."]
    for number, (step, found) in enumerate(zip(state["steps"], results, strict=False), 1):
        text = found.value if isinstance(found.value, str) else json.dumps(found.value)
        lines.append(f"{number}. {step['tool']}: {text[:SHOWN]}")
    if failed := state.get("failed"):
        lines.append(f"Failed: {failed}")
    return "\n".join([*lines, "Answer the request from this."])
