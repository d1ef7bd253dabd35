"""Two steps for one request, and second turns that correct the first."""

import re
from collections.abc import Callable
from functools import partial
from random import Random

from cabinos.train.dialogues.families.facts import (
    a_date,
    a_task,
    a_time,
    alone,
    code,
    yours,
)
from cabinos.train.dialogues.families.reminders import REMINDED, RINGS, length, told
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, World, templates

LINE = re.compile(r"^(\d+) \(([^)]*)\): (.*)$", re.MULTILINE)

TIMES = [
    "how much is the {k} in {d} times {n}?", "what is the {k} in {d} times {n}?",
    "take the {k} from {d} times {n}", "look up the {k} in {d}, what is it times {n}?",
    "the {k} in {d}, times {n}", "find the {k} in {d} and multiply it: times {n}",
    "[calculate|compute] the {k} in {d} times {n}", "what would the {k} in {d} come to, times {n}?",
    "how much is {n} times the {k} in {d}?", "what's {n} times the {k} in {d}",
    "i need {n} times the {k} in {d}",
]  # fmt: skip
SHARE = [
    "what's {p}% of the {k} in {d}?", "{p}% of the {k} in {d}",
    "how much is {p}% of the {k} in {d}?", "look up the {k} in {d} and take {p}% of it",
    "calculate {p}% of the {k} from {d}", "find {p}% of the {k} in {d}",
    "take {p}% of the {k} in {d}",
    "i want {p}% of the {k} from {d}",
    "what would {p}% of the {k} in {d} be?",
    "the {k} in {d}: how much is {p}% of it?",
    "work out {p}% of the {k} in {d}",
]  # fmt: skip
CONVERT = [
    "what's my {k} in {t}?", "how much is my {k} in {t}?", "my {k} in {t}", "convert my {k} to {t}",
    "what is my {k} in {t}", "tell me my {k} in {t}", "how many {t} is my {k}?",
    "[can|could] you give me my {k} in {t}?", "i need my {k} in {t}", "show my {k} in {t}",
]  # fmt: skip
DUE = [
    "how [long|many days] until {k}?", "how many days are left until {k}?",
    "when is {k} and how many days is that?", "days until {k}?", "how long is it until {k}?",
    "how far away is {k}?", "count the days until {k}",
    "how soon is {k}?",
    "when's {k}, and how long do i have?",
    "{k} is how many days away?",
    "how many days do i have before {k}?",
    "is {k} soon? count the days",
]  # fmt: skip
NOTED = [
    "{s}? [remember|note] the [answer|result]",
    "[work out|calculate] {s} and remember [it|the result]", "what's {s}? make a note of it",
    "calculate {s}, then note it down", "{s}, and save the result",
    "{s}, note the result",
    "work out {s} and write it down",
    "how much is {s}? save that",
    "note what {s} is",
    "compute {s} and keep the answer",
    "tell me {s} and remember it",
    "{s} = ? please note it",
    "i need {s} noted",
    "put the result of {s} in my notes",
    "save what {s} comes to",
    "what is {s}? then remember that",
    "figure {s} out, then store it",
]  # fmt: skip
PERCENT = [
    "no, i meant {q}%", "sorry, {q}%", "[make|make that|make it] {q}%", "i meant {q}%",
    "{q}% [instead|rather|i mean]", "oops, {q}%", "[and|what about|how about] {q}%?",
    "actually {q}%", "wait, {q}%", "no {q}%", "not {p}, {q}%",
]  # fmt: skip
AGAIN = [
    "make that {w}", "no, {w}", "sorry, {w}", "i meant {w}", "{w} [instead|rather]",
    "actually, {w}", "change it to {w}", "oops, i meant {w}", "[wait|hm], {w}", "better {w}",
    "no, make it {w}", "can you make it {w}?", "move it to {w}",
    "let's say {w}",
    "{w} would be better",
    "rather {w}",
    "not then, {w}",
    "push it to {w}",
    "could it be {w}?",
    "i'd prefer {w}",
]  # fmt: skip
OTHER = [
    "no, i meant {x}", "sorry, {x}", "i meant {x}", "{x}, not {y}", "actually {x}", "make that {x}",
    "oops, {x}", "no, {x}", "{x} [instead|rather]", "[and|also|plus] {x}", "and {x} too",
    "{x} as well", "wrong, {x}",
    "change that to {x}",
    "rather {x}",
    "not {y}, {x}",
    "{x} too please",
    "plus {x}",
    "i'd rather have {x}",
]  # fmt: skip
UPDATE = [
    "no, {f}", "sorry, {f}", "i meant {f}", "wrong, {f}", "[oops|correction]: {f}",
    "{f}, not what i said", "actually {f}", "no wait, {f}", "that was wrong, {f}",
    "correct that: {f}", "i made a mistake, {f}", "hm no, {f}",
]  # fmt: skip
AND = [
    "add {x} and {y} as two things to my {l} list", "put {x} on my {l} list, and then {y}",
    "add {x}, then add {y} to my {l} list", "{x} on the {l} list. also {y}",
    "add {x} to the {l} list and {y} too",
    "put {x} and also {y} on the {l} list, one by one",
    "i need {x} and {y} on my {l} list, separately",
    "{l} list: {x}, then {y}",
    "first {x}, then {y}, both on my {l} list",
    "on the {l} list put {x}. and {y}",
    "{x} goes on the {l} list, so does {y}",
    "add {x} to my {l} list. {y} as well",
    "please add two things to my {l} list: {x} and {y}",
    "we need {x} on the {l} list, {y} also",
    "add {x} on the {l} list plus {y}",
]  # fmt: skip
BOTH = [
    "remember that {f} and remind me to {x} {w}", "note that {f}, and remind me {w} to {x}",
    "{f}, remember that. also remind me to {x} {w}",
    "note {f}. then set a reminder to {x} {w}",
    "keep in mind that {f} and ping me {w} to {x}",
    "two things: {f}, and remind me to {x} {w}",
    "{f}, note it, and {w} remind me to {x}",
    "save that {f} and set a reminder {w} to {x}",
]  # fmt: skip
AMOUNTS = (
    "rent", "deposit", "total", "price", "fee", "salary", "budget", "monthly rate", "insurance",
    "premium", "phone bill", "ticket price", "cost", "daily rate", "weekly wage",
)  # fmt: skip
FILES = (
    "lease.txt", "bill.txt", "contract.md", "invoice.txt", "offer.txt", "budget.csv", "letter.txt",
    "summary.md", "quote.txt", "notes.txt",
)  # fmt: skip
EVENTS = ("exam", "wedding", "holiday", "move", "interview", "concert", "operation")
MEASURES = (
    ("height", "cm", "inches"),
    ("weight", "kg", "pounds"),
    ("commute", "km", "miles"),
    ("desk width", "inches", "cm"),
    ("backpack weight", "pounds", "kilograms"),
    ("running distance", "miles", "kilometers"),
    ("ceiling height", "meters", "feet"),
    ("oven temperature", "fahrenheit", "celsius"),
    ("tank size", "gallons", "liters"),
    ("garden length", "feet", "meters"),
)


def noted(rng: Random, fillers: Fillers) -> tuple[str, str, str, World]:
    """An amount in a document: what it is of, the file, its number, and the world."""
    kind, name, x = (
        fillers.of(rng, AMOUNTS),
        fillers.of(rng, FILES),
        str(rng.choice((rng.randrange(20, 999), rng.randrange(2, 40) * 50))),
    )
    others = [
        f"The {other} is {rng.randrange(10, 2000)} dollars."
        for other in rng.sample(AMOUNTS, 2)
        if other != kind
    ]
    lines = [
        rng.choice(
            (
                f"The {kind} is {x} dollars.",
                f"{kind.capitalize()}: {x} dollars",
                f"The {kind} comes to {x} dollars.",
            )
        ),
        *others,
    ]
    rng.shuffle(lines)
    return kind, name, x, World(files={f"papers/{name}": "\n".join(lines) + "\n"})


def computed(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Found in a document, and multiplied or a share taken."""
    kind, name, x, world = noted(rng, fillers)
    n, p = str(rng.choice((12, 12, 2, 3, 4, 6, rng.randrange(2, 60)))), rng.randrange(2, 60)
    sum_ = f"{p}% of {x}" if "{p}" in pattern else f"{x} * {n}"
    says = say(rng, pattern, k=kind, d=name, n=n, p=p)
    calls = (
        Call(
            "files_passages",
            {"query": f"{kind} in {name}" if f"{kind} in {name}" in says else kind},
        ),
        Call("calculate", {"expression": sum_}),
    )

    def reply(results: Results) -> str:
        return f"The {kind} is {x} dollars, and {results[1]}."

    return Script((Turn(says, reply, calls),), world)


def recalled(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """Recalled, and converted."""
    kind, unit, other = rng.choice(MEASURES)
    x = str(rng.randrange(2, 220))
    world = World(notes=(f"my {kind} is {x} {unit}",))
    calls = (
        Call("notes_recall", {"query": kind}),
        Call("units_convert", {"value": x, "from_unit": unit, "to_unit": other}),
    )

    def reply(results: Results) -> str:
        about = "about " if "≈" in results[1] else ""
        value = results[1].replace("≈", "=").partition("= ")[2].split()[0]
        return f"Your {kind} is {x} {unit}, that's {about}{value} {other}."

    return Script((Turn(say(rng, pattern, k=kind, t=other), reply, calls),), world)


def due(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Recalled, and the days counted."""
    name, date = fillers.one(rng, "name"), a_date(rng)
    key, text = rng.choice(
        (
            (f"{name}'s birthday", "{k} is {d}"),
            (
                f"my {rng.choice(EVENTS)}",
                "{k} is on {d}",
            ),
        )
    )
    fact = text.format(k=key, d=date)
    query = key.removeprefix("my ")
    calls = (
        Call("notes_recall", {"query": query}),
        Call("clock_between", {"start": "today", "end": date}),
    )
    says = say(rng, pattern, k=key)
    return Script((Turn(says, partial(_days, yours(key), date), calls),), World(notes=(fact,)))


def _days(key: str, date: str, results: Results) -> str:
    found = re.search(r"(\d[\d,]*) days?", results[1])
    days = found[0] if found else results[1]
    return f"{key[0].upper()}{key[1:]} is on {date}: {days} from today."


def kept(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """Calculated, and remembered as it came back."""
    a, b = rng.randrange(11, 500), rng.randrange(2, 40)
    sum_ = rng.choice((f"{a} * {b}", f"{b}% of {a}", f"{a} + {b}", f"{a} - {b}"))

    def keep(results: Results) -> Call:
        return Call("notes_remember", {"text": results[0]})

    turn = Turn(
        say(rng, pattern, s=sum_),
        lambda results: f"{results[0]}. Noted.",
        (Call("calculate", {"expression": sum_}), keep),
    )
    return Script((turn,))


def percent(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """Another percentage of the same."""
    p, q = rng.sample(range(2, 60), 2)
    x = rng.randrange(10, 900)
    opening = rng.choice(("what's {p}% of {x}?", "{p}% of {x}", "calculate {p}% of {x}"))

    def of(n: int, says: str) -> Turn:
        return Turn(
            says,
            lambda results: f"{results[0]}.",
            (Call("calculate", {"expression": f"{n}% of {x}"}),),
        )

    return Script(
        (
            of(p, say(rng, opening.replace("{p}% of {x}", "{s}"), s=f"{p}% of {x}")),
            of(q, say(rng, pattern, q=q, p=p)),
        )
    )


def again(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Another time for the same reminder: the old one goes."""
    timing = rng.random() < 0.4
    text = "timer" if timing else a_task(rng, fillers)
    old, new = (length(rng), length(rng)) if timing else (a_time(rng), a_time(rng))
    opening = "set a {x} for {w}" if timing else "remind me to {x} {w}"
    answers = RINGS if timing else REMINDED
    begin = Turn(
        say(rng, opening, x=text, w=old),
        partial(told, answers, rng.random()),
        (Call("notes_remind", {"text": text, "when": old}),),
    )
    calls = (
        Call("notes_forget", {"thing": text}),
        Call("notes_remind", {"text": text, "when": new}),
    )
    draw = rng.random()
    then = Turn(say(rng, pattern, w=new), lambda results: told(answers, draw, results[1:]), calls)
    return Script((begin, then))


def other(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Another thing on the list: instead of the first, or as well."""
    x, y = (food.lower() for food in fillers.some(rng, "food", 2))
    listed = rng.choice(("shopping", "grocery", "packing"))
    begin = Turn(
        say(rng, rng.choice(("add {y} to my {l} list", "put {y} on the {l} list")), y=y, l=listed),
        f"Added {y} to your {listed} list.",
        (Call("notes_todo_add", {"text": y, "list": listed}),),
    )
    also = any(word in pattern for word in ("and ", "also", "as well"))
    add = Call("notes_todo_add", {"text": x, "list": listed})
    calls = (add,) if also else (Call("notes_forget", {"thing": y}), add)
    answer = f"Added {x} as well." if also else f"Now {x} is on your {listed} list instead of {y}."
    return Script((begin, Turn(say(rng, pattern, x=x, y=y), answer, calls)))


def update(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """What was just remembered was wrong."""
    key = rng.choice(
        (
            "locker code",
            "door code",
            "bike lock code",
            "seat number",
            "room number",
            "wifi password",
            "gate code",
            "parking spot",
        )
    )
    old, new = code(rng), code(rng)
    begin = Turn(
        say(rng, "remember that {f}", f=f"my {key} is {old}"),
        f"Noted: your {key} is {old}.",
        (Call("notes_remember", {"text": f"my {key} is {old}"}),),
    )
    calls = (
        Call("notes_forget", {"thing": f"my {key} is {old}"}),
        Call("notes_remember", {"text": f"my {key} is {new}"}),
    )
    return Script(
        (
            begin,
            Turn(
                say(rng, pattern, f=f"my {key} is {new}"), f"Corrected: your {key} is {new}.", calls
            ),
        )
    )


def both_on(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Two things, one after the other."""
    x, y = (food.lower() for food in fillers.some(rng, "food", 2))
    listed = rng.choice(("shopping", "grocery", "packing", "party"))
    calls = tuple(Call("notes_todo_add", {"text": text, "list": listed}) for text in (x, y))
    return Script(
        (
            Turn(
                say(rng, pattern, x=x, y=y, l=listed),
                f"Added {x} and {y} to your {listed} list.",
                calls,
            ),
        )
    )


def both(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A fact and a reminder."""
    fact, when = f"{fillers.one(rng, 'name')} likes {fillers.one(rng, 'food').lower()}", a_time(rng)
    (task,) = alone(rng, fillers, 1)
    calls = (
        Call("notes_remember", {"text": fact}),
        Call("notes_remind", {"text": task, "when": when}),
    )
    draw = rng.random()
    return Script(
        (
            Turn(
                say(rng, pattern, f=fact, x=task, w=when),
                lambda results: "Noted. " + told(REMINDED, draw, results[1:]),
                calls,
            ),
        )
    )


Write = Callable[[Random, Fillers, str], Script]
KINDS: list[tuple[str, Write, list[str]]] = [
    ("times", computed, TIMES), ("share", computed, SHARE), ("convert", recalled, CONVERT),
    ("due", due, DUE), ("noted", kept, NOTED), ("percent", percent, PERCENT),
    ("again", again, AGAIN), ("other", other, OTHER),
    ("update", update, UPDATE), ("and", both_on, AND), ("both", both, BOTH),
]  # fmt: skip
TEMPLATES = [
    made for kind, write, patterns in KINDS for made in templates(f"chains/{kind}", write, patterns)
]
