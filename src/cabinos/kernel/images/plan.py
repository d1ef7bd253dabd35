"""Plan mode: the model plans once, from clean pages; then the kernel makes the calls.

    plan → grant → step → step → … → the chat goes on with the results

The model never sees a result before its plan is fixed, so nothing that is read can change which
tools are called, nor an argument that is no hole (`kernel/plan.py`). If no plan comes of it, the
chat goes on as if none had been asked for: then every call is checked by itself.
"""

import json
from collections.abc import Mapping
from typing import Any

from cabinos.kernel.errors import InvalidArguments
from cabinos.kernel.image import Call, Result, Step, Syscall
from cabinos.kernel.labels import Label
from cabinos.kernel.plan import Found, fill, validate

__all__ = ["PHASES", "STATE", "begin", "resume"]

PHASES = ("plan", "grant", "step")
STATE = ("plan", "steps", "ids", "found", "items", "failed")  # of a chat's state: the plan's
SHOWN = 4000  # characters of a step's result that the model is shown afterwards
HOW = (
    "Before anything is read, plan the calls. Answer with JSON: "
    '{"steps": [{"tool": name, "arguments": {…}}]}. An argument is a value, or an object: '
    '{"result": n} of step n, {"field": [x, name]}, {"lookup": [x, field, "eq", value]}, '
    '{"filter": …}, {"max": [x, field]}, {"min": …}, {"count": x}, {"text": ["… {}", x]}. '
    "The step quarantine(instruction, data, schema) lets a model without tools read data and "
    'write content. If no calls are needed: {"steps": []}.'
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


def begin(state: dict[str, Any], options: dict[str, Any]) -> Step:
    """Asks the model for a plan."""
    asked = {**options, "say": HOW, "schema": SCHEMA, "planning": True}
    return {**state, "phase": "plan"}, Syscall.one("think", **asked)


def resume(state: dict[str, Any], result: Result) -> Step | str:
    """The next step of the plan; or what the chat is to be told when it goes on."""
    phase = state["phase"]
    if phase == "plan":
        try:
            steps = validate(json.loads(result.value["text"])["steps"]) if result.ok else []
        except (InvalidArguments, ValueError, TypeError, KeyError, RecursionError):
            steps = []
        if not steps:
            return ""
        return {**state, "phase": "grant", "steps": steps}, Syscall.one("grant", plan=steps)
    if phase == "grant":
        if not result.ok:
            return ""
        return _next({**state, "phase": "step", "ids": result.value, "found": [], "items": []})
    return _next(_settled(state, result))


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
