"""Requests that lack something: a short question, and then the detail that was missing."""

from collections.abc import Callable
from functools import partial
from random import Random

from cabinos.train.dialogues.families.facts import a_fact, a_task, a_time, span, yours
from cabinos.train.dialogues.families.reminders import (
    ALARMED,
    REMINDED,
    RINGS,
    length,
    moment,
    told,
)
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, templates

TIMER = [
    "set a timer", "set timer", "start a timer", "i need a timer", "timer", "timer please",
    "[can|could] you set a timer( for me)?", "new timer", "please start a timer",
    "set a timer please", "i want to set a timer", "put a timer on", "create a timer",
    "timer now",
    "i could use a timer",
    "run a timer",
    "can i get a timer?",
    "time something for me",
    "let's start a timer",
]  # fmt: skip
ALARM = [
    "set an alarm", "i need an alarm", "alarm please", "[can|could] you set an alarm( for me)?",
    "set alarm", "new alarm", "set my alarm", "create an alarm", "i want to set an alarm",
    "wake me",
    "i want an alarm",
    "alarm",
    "can i get an alarm?",
    "put an alarm on",
]  # fmt: skip
WHEN = [
    "remind me to {x}", "set a reminder to {x}", "[can|could] you remind me to {x}?",
    "please remind me to {x}", "i need a reminder to {x}", "don't let me forget to {x}",
    "i want to be reminded to {x}", "reminder to {x}",
]  # fmt: skip
WHAT = [
    "remind me {w}", "set a reminder {w}", "i need a reminder {w}",
    "[can|could] you remind me {w}?", "set a reminder for me {w}", "create a reminder {w}",
]  # fmt: skip
REMIND = [
    "remind me", "set a reminder", "i need a reminder", "remind me of something",
    "[can|could] you remind me?", "create a reminder( please)", "new reminder", "remind me please",
    "please remind me of something later",
    "leave me a reminder",
    "reminder",
    "i need to be reminded of something",
]  # fmt: skip
REMEMBER = [
    "[make|take] a note", "remember something( for me)", "i want you to remember something", "note",
    "[can|could] you [remember|note] something( for me)?", "write something down", "take this down",
    "new note", "remember this", "save a note",
]  # fmt: skip
ADD = [
    "add something to my [list|todo list]", "new task", "add a [task|todo]", "add to my list",
    "put something on my todo list", "i need to add a task", "add an item to my list",
    "put something on my list",
    "i have a new task",
    "one more for my list",
    "my list needs something",
]  # fmt: skip
ADD_NAMED = [
    "add something to my {l} list", "put something on the {l} list", "i want to add to my {l} list",
    "add an item to the {l} list", "update my {l} list",
    "something for the {l} list",
    "i need something on my {l} list",
    "new item for the {l} list",
]  # fmt: skip
CONVERT = [
    "convert {x} {u}", "[can|could] you convert {x} {u}?", "change {x} {u}",
    "i need to convert {x} {u}", "please convert {x} {u}", "{x} {u}", "how much is {x} {u}?",
    "what is {x} {u}",
]  # fmt: skip
CALCULATE = [
    "calculate( something)", "[can|could] you [do|calculate] something for me?",
    "do [the math|a calculation]", "i need to calculate something", "work something out for me",
    "help me with [math|a sum|a calculation]",
    "do some math for me",
    "can you add something up?",
    "i have a sum for you",
    "let's calculate",
    "quick math",
]  # fmt: skip
PERCENT = ["what's {p} percent", "calculate {p}%", "{p}%", "how much is {p} percent?", "take {p}%"]
SPELL = [
    "spell [a word|something]", "how do you spell it", "can you spell something for me?",
    "spelling please",
    "spell",
    "how is it spelled?",
    "can you spell?",
]  # fmt: skip
PICK = [
    "pick one", "choose( for me)", "[can|could] you pick something?", "help me choose",
    "make a choice for me",
    "which one should i take?",
    "decide for me",
    "pick something for me",
    "make the choice",
    "help me decide",
    "which one?",
]  # fmt: skip

LENGTHS = ("{d}", "for {d}", "{d} please", "make it {d}", "let's say {d}", "{d}, thanks")
TIMES = ("{w}", "{w} please", "{w} would be good", "let's say {w}", "{w}, thanks")
THINGS = ("{x}", "{x} please", "to {x}", "that i have to {x}")


def ask(rng: Random, *questions: str) -> str:
    """One of the questions."""
    return rng.choice(questions)


def timer(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """For how long?"""
    lasts = length(rng)
    begin = Turn(says := say(rng, pattern), ask(rng, "For how long?", "How long should it run?"))
    text = span(says, "timer") or lasts
    call = Call("notes_remind", {"text": text, "when": lasts})
    then = Turn(say(rng, rng.choice(LENGTHS), d=lasts), partial(told, RINGS, rng.random()), (call,))
    return Script((begin, then))


def alarm(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """For when?"""
    when = moment(rng)
    begin = Turn(says := say(rng, pattern), ask(rng, "For when?", "For what time?"))
    text = span(says, "alarm") or when
    call = Call("notes_remind", {"text": text, "when": when})
    then = Turn(say(rng, rng.choice(TIMES), w=when), partial(told, ALARMED, rng.random()), (call,))
    return Script((begin, then))


def when(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A task without a time."""
    task, time = a_task(rng, fillers), a_time(rng)
    begin = Turn(
        say(rng, pattern, x=task), ask(rng, "When should I remind you?", "When?", "At what time?")
    )
    return Script((begin, _reminder(rng, task, time, say(rng, rng.choice(TIMES), w=time))))


def _reminder(rng: Random, task: str, time: str, says: str) -> Turn:
    call = Call("notes_remind", {"text": task, "when": time})
    return Turn(says, partial(told, REMINDED, rng.random()), (call,))


def what(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A time without a task."""
    task, time = a_task(rng, fillers), a_time(rng)
    begin = Turn(say(rng, pattern, w=time), ask(rng, "Of what?", "What should I remind you of?"))
    return Script((begin, _reminder(rng, task, time, say(rng, rng.choice(THINGS), x=task))))


def neither(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Neither a task nor a time."""
    task, time = a_task(rng, fillers), a_time(rng)
    begin = Turn(
        say(rng, pattern), ask(rng, "Of what, and when?", "What should I remind you of, and when?")
    )
    says = say(rng, rng.choice(("{x} {w}", "to {x} {w}", "{w}: {x}", "{w} to {x}")), x=task, w=time)
    return Script((begin, _reminder(rng, task, time, says)))


def remember(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """What is to be remembered?"""
    text = a_fact(rng, fillers).text
    begin = Turn(
        say(rng, pattern), ask(rng, "What should I remember?", "What is it?", "What should I note?")
    )
    call = Call("notes_remember", {"text": text})
    says = say(rng, rng.choice(("{f}", "{f}", "that {f}")), f=text)
    return Script(
        (begin, Turn(says, rng.choice((f"Noted: {yours(text)}.", "I'll remember that.")), (call,)))
    )


def add(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """What is to be added?"""
    listed = rng.choice(("shopping", "grocery", "packing", "gift"))
    named = "{l}" in pattern
    text = fillers.one(rng, "food").lower() if named else a_task(rng, fillers)
    begin = Turn(
        say(rng, pattern, l=listed), ask(rng, "What should I add?", "What is it?", "Add what?")
    )
    arguments = {"text": text, "list": listed} if named else {"text": text}
    says = say(rng, rng.choice(("{x}", "{x}", "{x} please", "just {x}")), x=text)
    answer = (
        f"{text[0].upper()}{text[1:]} is on your {listed} list."
        if named
        else f"Added: {yours(text)}."
    )
    return Script((begin, Turn(says, answer, (Call("notes_todo_add", arguments),))))


def convert(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """To which unit?"""
    unit, other = rng.choice(
        (
            ("miles", "kilometers"),
            ("feet", "meters"),
            ("pounds", "kilograms"),
            ("inches", "centimeters"),
            ("cups", "ml"),
            ("gallons", "liters"),
            ("kg", "pounds"),
            ("km", "miles"),
            ("ounces", "grams"),
            ("liters", "pints"),
        )
    )
    x = str(rng.randrange(2, 200))
    begin = Turn(
        say(rng, pattern, x=x, u=unit), ask(rng, "To which unit?", "Into what?", "In which unit?")
    )
    says = say(
        rng, rng.choice(("{t}", "to {t}", "in {t}", "into {t} please", "{t} please")), t=other
    )
    call = Call("units_convert", {"value": x, "from_unit": unit, "to_unit": other})
    return Script(
        (begin, Turn(says, lambda results: f"{x} {unit} {_is(results)} {other}.", (call,)))
    )


def _is(results: Results) -> str:
    """`is 8.04672` or `is about 8.05`: what came back, without its unit."""
    near = "≈" in results[0]
    value = results[0].replace("≈", "=").partition("= ")[2].split()[0]
    return f"is {'about ' * near}{value}"


def calculate(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """Calculate what?"""
    a, b = rng.randrange(2, 400), rng.randrange(2, 60)
    sum_ = rng.choice(
        (f"{a} + {b}", f"{a} times {b}", f"{b}% of {a}", f"{a} - {b}", f"{a}*{b}", f"{a} plus {b}")
    )
    begin = Turn(
        say(rng, pattern), ask(rng, "What should I calculate?", "Sure. What is it?", "Which sum?")
    )
    call = Call("calculate", {"expression": sum_})
    return Script(
        (begin, Turn(say(rng, rng.choice(("{s}", "{s}", "what's {s}?")), s=sum_), _sum, (call,)))
    )


def percent(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """Percent of what? The number alone comes, so the call is made of both."""
    p, x = rng.randrange(2, 60), rng.randrange(10, 900)
    sum_ = f"{p}% of {x}"
    begin = Turn(say(rng, pattern, p=p), f"{p}% of what?")
    says = say(rng, rng.choice(("{s}", "{s}", "i mean {s}", "{s} please")), s=sum_)
    return Script((begin, Turn(says, _sum, (Call("calculate", {"expression": sum_}),))))


def _sum(results: Results) -> str:
    return f"{results[0]}."


def spell(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Which word?"""
    word = fillers.one(rng, "noun").split()[0]
    begin = Turn(say(rng, pattern), ask(rng, "Which word?", "What word should I spell?"))
    says = say(rng, rng.choice(("{x}", "the word {x}", "{x} please")), x=word)
    return Script(
        (
            begin,
            Turn(
                says,
                lambda results: f"{word}: {results[0]}",
                (Call("words_spell", {"word": word}),),
            ),
        )
    )


def pick(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Between what?"""
    options = " or ".join(food.lower() for food in fillers.some(rng, "food", 2))
    begin = Turn(say(rng, pattern), ask(rng, "Between what?", "What are the options?"))
    call = Call("random_pick", {"options": options})
    return Script(
        (begin, Turn(say(rng, "{o}", o=options), lambda results: f"I pick {results[0]}.", (call,)))
    )


Write = Callable[[Random, Fillers, str], Script]
KINDS: list[tuple[str, Write, list[str]]] = [
    ("timer", timer, TIMER), ("alarm", alarm, ALARM), ("when", when, WHEN), ("what", what, WHAT),
    ("remind", neither, REMIND), ("remember", remember, REMEMBER), ("add", add, ADD),
    ("add-named", add, ADD_NAMED), ("convert", convert, CONVERT),
    ("calculate", calculate, CALCULATE),
    ("percent", percent, PERCENT), ("spell", spell, SPELL), ("pick", pick, PICK),
]  # fmt: skip
TEMPLATES = [
    made
    for kind, write, patterns in KINDS
    for made in templates(f"clarify/{kind}", write, patterns)
]
