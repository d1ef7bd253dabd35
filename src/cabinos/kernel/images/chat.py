"""The agent loop: think, call what was asked for, think again, until there is an answer.

    start → think → (call → think)* → answer → recv? → think → …

Where the kernel marked a thought's calls as `held`, a plan comes first (`images/plan.py`). If none
comes of it, they are made as they were asked for.
A structured answer is checked against its JSON schema here; what does not fit goes back to the
model with the error. Mail that came meanwhile is read before each thought and after each answer.
"""

import json
from collections.abc import Mapping
from typing import Any

from cabinos.kernel.image import Call, Exit, Result, Step, Syscall
from cabinos.kernel.images import plan

__all__ = ["MAX_STEPS", "Chat"]

MAX_STEPS = 50  # thoughts in one turn, unless asked for otherwise
CUT = "the answer was cut off: it reached the most tokens it may have."
CLIP = 500  # characters of what is wrong with an answer
MAX_RETRIES = 3  # of a structured answer that does not fit
DEFAULTS: dict[str, Any] = {
    "schema": None,
    "stay": False,
    "max_steps": MAX_STEPS,
    "think": None,
    "hand_back": False,
    "whole": False,
    "plan": None,
}


class Chat:
    """State: `phase`, `steps` of this turn, and what `start` was given."""

    @staticmethod
    def start(**options: Any) -> dict[str, Any]:
        """The first state. `stay`: after an answer, wait for the next message instead of ending.

        `max_steps` limits the thoughts of one turn. `schema` is a JSON schema of the answer.
        `think` holds options of every thought: `temperature`, `top_p`, `seed`, `max_tokens`,
        `stop`, `raw`. `hand_back`: calls are not made but end the process, for its client to make
        them. `whole`: nothing is swapped out or shortened; what does not fit is an error. `plan`:
        True begins the first turn with one, False wants none; None leaves it to the kernel.
        """
        return {"phase": "start"} | {k: v for k, v in options.items() if v != DEFAULTS[k]}

    def resume(self, state: dict[str, Any], results: Mapping[str, Result] | None) -> Step:
        """See `Image.resume`."""
        phase = state["phase"]
        if phase == "think":
            assert results is not None
            return _after_thought(state, results["0"])
        if phase == "recv":
            assert results is not None
            if results["0"].value is None:
                return {**state, "phase": "done"}, Exit(
                    state.get("answer", ""), note=state.get("note", "")
                )
            return _think(_turn(state))
        if phase in plan.PHASES:
            assert results is not None
            step = plan.resume(state, results["0"])
            return _after_plan(state, step) if isinstance(step, str) else step
        if phase == "start" and state.get("plan"):
            return plan.begin(state)
        return _think(state)


def _think(state: dict[str, Any], say: str = "") -> Step:
    steps = state.get("steps", 0) + 1
    if steps > state.get("max_steps", MAX_STEPS):
        text = f"stopped after {steps - 1} thoughts without an answer."
        return {**state, "phase": "done"}, Exit(text, ok=False)
    options = dict(state.get("think") or {})
    if schema := state.get("schema"):
        options["schema"] = schema
    if say:
        options["say"] = say
    return {**state, "phase": "think", "steps": steps}, Syscall.one("think", **options)


def _after_plan(state: dict[str, Any], told: str) -> Step:
    """An ordinary chat again: the plan was carried out, or (`told` is empty) there is none."""
    kept = {k: v for k, v in state.items() if k not in plan.STATE}
    kept["steps"] = state.get("thoughts", 0)
    if "held" in state and not told:
        return _call(kept, state["held"])
    return _think(kept, told)


def _turn(state: dict[str, Any]) -> dict[str, Any]:
    """The state at the beginning of a turn."""
    old = ("retries", "answer", "note", "planned", *plan.STATE)
    return {k: v for k, v in state.items() if k not in old}


def _call(state: dict[str, Any], calls: Any) -> Step:
    made = {id_: Call(name, arguments) for id_, name, arguments, _raw in calls}
    return {**state, "phase": "call"}, Syscall(made, paged=True)


def _after_thought(state: dict[str, Any], result: Result) -> Step:
    if not result.ok:
        return {**state, "phase": "done"}, Exit(str(result.value), ok=False)
    thought = result.value
    note = CUT if thought["finish"] == "length" else ""
    if thought["calls"] and state.get("hand_back"):
        return {**state, "phase": "done"}, Exit(thought["text"], note=note)
    if calls := thought["calls"]:
        held = thought.get("held")
        return plan.begin({**state, "held": calls}) if held else _call(state, calls)
    text = thought["text"]
    if schema := state.get("schema"):
        problem, value = _misfit(text, schema)
        if problem:
            retries = state.get("retries", 0) + 1
            if retries > MAX_RETRIES:
                return {**state, "phase": "done"}, Exit(
                    f"no answer fits the schema after {MAX_RETRIES} retries: {problem}", ok=False
                )
            say = f"That does not fit: {problem} Answer again with JSON that fits the schema only."
            return _think({**state, "retries": retries}, say)
        if not state.get("stay"):
            return {**state, "phase": "done"}, Exit(text, value=value, note=note)
    state = {**state, "phase": "recv"}
    if state.get("stay"):
        return state, Syscall.one("recv")
    told = {"answer": text, "note": note} if note else {"answer": text}
    return {**state, **told}, Syscall.one("recv", wait=False)


def _misfit(text: str, schema: Mapping[str, Any]) -> tuple[str, Any]:
    """(what is wrong or "", the value) of a structured answer."""
    from jsonschema.validators import validator_for

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON ({error}).", None
    try:
        validator = validator_for(schema)(schema)
        errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.path)))
    except Exception as error:  # noqa: BLE001 - a reference into nowhere, a pattern that is none
        return f"the schema itself is not valid ({error}).", None
    if not errors:
        return "", value
    where = "/".join(str(part) for part in errors[0].path) or "the answer"
    return f"{where}: {errors[0].message[:CLIP]}.", None
