"""Tools of one conversation alone: the call is read off the schema, the answer off the result.

A tool is made of an area's nouns, a verb and parameters, so that hardly two are the same. It is a
tiny real function that returns a structured result.
"""

import re
import tomllib
from pathlib import Path
from random import Random
from typing import Any

from cabinos.kernel.driver import Context, Tool
from cabinos.train.dialogues.families.facts import values
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, templates

TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
AREAS: dict[str, Any] = TABLES["area"]
WORDS: dict[str, list[str]] = TABLES["words"]
GENERIC: dict[str, list[str]] = TABLES["generic"]
GROUP = re.compile(r"\{([^}]*)\}")
ASIDE = ("{s}", "{s}", "{s}", "please {s}", "hey, {s}", "cabin, {s}", "ok, {s}")


def drawn(rng: Random, spec: Any) -> Any:
    """What a result's pattern may be: `{1..9}` alone is a number, everything else is text."""
    if spec is True:
        return spec
    text = GROUP.sub(lambda found: _one(rng, found[1]), spec)
    return int(text) if GROUP.fullmatch(spec) and ".." in spec else text


def _one(rng: Random, group: str) -> str:
    low, to, high = group.partition("..")
    if to:
        return str(rng.randint(int(low), int(high)))
    if group == "letters":
        return "".join(rng.choices("aeioulnrstmk", k=6))
    words: list[str] = group.split("|")
    return rng.choice(words)


def _tool(rng: Random, area: dict[str, Any], result: dict[str, Any]) -> tuple[Tool, dict[str, str]]:
    """A tool of the area, and the parameter that each slot has in it."""
    named: dict[str, str] = {}
    for slot, names in area["slots"].items():
        named[slot] = rng.choice([name for name in names if name not in named.values()])
    properties: dict[str, Any] = {}
    for slot, name in named.items():
        properties[name] = {"type": "integer"} if slot == "n" else {"type": "string"}
        if slot in ("state", "does"):
            properties[name]["enum"] = WORDS[slot]
    required = list(properties)
    if rng.random() < 0.3:
        properties[rng.choice(("language", "units", "limit", "verbose", "user", "note"))] = {
            "type": "string"
        }

    async def run(_context: Context, **_: Any) -> dict[str, Any]:
        return result

    schema = {"type": "object", "properties": properties, "required": required}
    return Tool(rng.choice(area["names"]), f"{area['about']}.", schema, run), named


def called(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """`area => what is said`: the area's tool is called with what was said."""
    name, _, says = pattern.partition(" => ")
    area = AREAS[name]
    known: dict[str, Any] = dict(values(rng, fillers))
    known |= {kind: rng.choice(words) for kind, words in WORDS.items()}
    known["code"] = f"{rng.choice('ABCX')}{rng.randrange(1000, 99999)}"
    known["n"] = rng.randrange(2, 40)
    result = {key: drawn(rng, spec) for key, spec in area["result"].items()}
    tool, named = _tool(rng, area, result)
    others = [
        _tool(rng, AREAS[other], {})[0]
        for other in rng.sample(list(AREAS), rng.randrange(3))
        if other != name
    ]
    others = [other for other in others if other.name != tool.name]
    call = Call(tool.name, {parameter: known[slot] for slot, parameter in named.items()})
    answer: str = area["answer"].format_map(known | result)

    def reply(_: Results) -> str:
        return answer[0].upper() + answer[1:]

    turn = Turn(say(rng, rng.choice(ASIDE).replace("{s}", says), **known), reply, (call,))
    return Script((turn,), tools=(tool, *others))


def named(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A tool whose name says what is asked for: "restart the server blue-7" is `restart_server`.

    Beside it stand tools that do the same to something else, or something else to the same.
    """
    verb, noun = rng.choice(GENERIC["verbs"]), rng.choice(GENERIC["nouns"])
    which = rng.choice(
        (
            fillers.one(rng, "name"),
            fillers.one(rng, "city"),
            fillers.one(rng, "animal").lower(),
            f"{rng.choice(GENERIC['marks'])}-{rng.randrange(1, 99)}",
            f"{rng.choice('ABCX')}{rng.randrange(10, 99999)}",
            f"{rng.choice(GENERIC['marks'])} {rng.choice(GENERIC['marks'])}",
        )
    )
    known: dict[str, Any] = {"v": verb, "o": noun, "x": which, "n": rng.randrange(2, 60)}
    slots = [slot for slot in ("x", "n") if f"{{{slot}}}" in pattern]
    tool, parameters = _generic(rng, verb, noun, slots)
    pairs = [(verb, rng.choice(GENERIC["nouns"])), (rng.choice(GENERIC["verbs"]), noun)]
    others = [_generic(rng, *pair, slots)[0] for pair in pairs if pair != (verb, noun)]
    call = Call(
        tool.name, {name: known[slot] for slot, name in zip(slots, parameters, strict=True)}
    )
    answer = f"Done: {verb} the {noun}."
    turn = Turn(say(rng, pattern, **known), answer, (call,))
    return Script((turn,), tools=(tool, *others[: rng.randrange(3)]))


def _generic(rng: Random, verb: str, noun: str, slots: list[str]) -> tuple[Tool, list[str]]:
    """The tool that does `verb` to a `noun`, and the names of its parameters."""
    name = rng.choice((f"{verb}_{noun}", f"{noun}_{verb}", f"{verb}_{noun}s", f"do_{verb}_{noun}"))
    about = rng.choice(
        (
            f"{verb.capitalize()} a {noun}.",
            f"{verb.capitalize()}s the {noun} of this name.",
            f"Lets you {verb} one {noun}.",
            f"{noun.capitalize()}s: {verb}.",
        )
    )
    names = {
        "x": rng.choice(("name", "id", noun, f"{noun}_id", f"{noun}_name", "which", "target")),
        "n": rng.choice(("count", "amount", "number", "minutes", "level", "value")),
    }
    properties = {names[s]: {"type": "integer" if s == "n" else "string"} for s in slots}

    async def run(_context: Context, **_: Any) -> dict[str, Any]:
        return {"ok": True}

    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return Tool(name, about, schema, run), list(properties)


TEMPLATES = [
    *templates(
        "unseen/call",
        called,
        [f"{name} => {says}" for name, area in AREAS.items() for says in area["says"]],
    ),
    *templates("unseen/named", named, GENERIC["says"]),
]
