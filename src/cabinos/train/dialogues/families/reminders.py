"""Reminders, timers and alarms: set, listed, cancelled."""

import re
from functools import partial
from random import Random

from cabinos.train.dialogues.families.facts import a_task, a_time, yours
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, World, templates

SET = re.compile(r"Reminder \d+ is set for (\w+) (\S+) (\d\d:\d\d): (.*)")
LINE = re.compile(r"^(\d+) \(([^)]*)\): (.*)$", re.MULTILINE)

REMIND = [
    "remind me to {x} {w}", "remind me {w} to {x}", "{w} remind me to {x}",
    "please remind me to {x} {w}", "[can|could|would|will] you remind me to {x} {w}?",
    "[can|could] you remind me {w} to {x}?", "set a reminder to {x} {w}",
    "set a reminder {w} to {x}", "set a reminder {w}: {x}",
    "[create|make|add] a reminder to {x} {w}", "i need a reminder to {x} {w}", "reminder: {x} {w}",
    "i want to be reminded to {x} {w}", "don't let me forget to {x} {w}", "reminder to {x} {w}",
    "remind me that i [need|have] to {x} {w}", "{w} i [need|have] to {x}, remind me",
    "i have to {x} {w}, [remind me|please remind me|don't let me forget]",
    "{x} {w}, remind me please", "[tell|alert|notify|ping] me {w} to {x}",
    "let me know {w} that i should {x}", "i must {x} {w}, so remind me",
    "give me a reminder {w} to {x}", "[hey|ok] cabin, remind me to {x} {w}", "make sure i {x} {w}",
    "nudge me {w} to {x}", "remind me about this {w}: {x}", "put in a reminder to {x} {w}",
    "schedule a reminder {w} to {x}", "help me remember to {x} {w}",
    "i'd like a reminder to {x} {w}", "remember to remind me to {x} {w}", "new reminder: {x}, {w}",
    "[send|give] me a reminder to {x} {w}", "could i get a reminder to {x} {w}",
    "{x}! remind me {w}",
    "i mustn't forget to {x} {w}",
    "can you make sure i {x} {w}?",
    "get me to {x} {w}",
    "i want a reminder {w} to {x}",
    "leave me a reminder to {x} {w}",
    "put a reminder {w}: {x}",
    "a reminder {w} to {x} please",
    "wake my memory {w}: {x}",
    "i'll need to {x} {w}, tell me then",
    "when it's {w}, tell me to {x}",
    "reminder for {w}: {x}",
    "reminder {w} - {x}",
]  # fmt: skip
TIMER = [
    "set a {timer} for {d}", "set {timer} for {d}", "start a {d} {timer}", "set a {d} {timer}",
    "{timer} {d}", "{timer} for {d}( please)", "{d} {timer}", "start a {timer} for {d}",
    "[can|could] you set a {timer} for {d}?", "please set a {timer} for {d}",
    "i need a {timer} for {d}", "give me a {timer} for {d}", "i want a {d} {timer}",
    "run a {timer} for {d}", "put on a {timer} for {d}", "begin a {timer} of {d}",
    "[hey|ok] cabin, {timer} for {d}", "make a {timer}: {d}", "let's do a {timer} of {d}",
    "count down {d} on a {timer}", "create a {d} {timer}", "set a new {timer} for {d}",
    "i'd like a {timer} for {d} please", "set my {timer} to {d}", "{d} on the {timer}",
    "can i have a {timer} for {d}",
    "{timer} running {d} please",
    "{timer}: {d}",
    "i want to be told in {d}, set a {timer}",
    "{d}, start the {timer}",
    "go, {timer} of {d}",
    "a {timer} for {d} thanks",
]  # fmt: skip
NAMED_TIMER = [
    "set a {d} timer for {x}", "set a {x} timer for {d}", "{x} timer {d}", "timer for {x}, {d}",
    "set a timer for {x}: {d}", "start the {x} timer for {d}", "{d} timer for the {x} please",
    "i need a {x} timer, {d}", "set a timer called {x} for {d}",
]  # fmt: skip
ALARM = [
    "set an {alarm} for {w}", "set an {alarm} {w}", "set my {alarm} for {w}", "{alarm} for {w}",
    "{alarm} {w}", "i need an {alarm} for {w}", "please set an {alarm} for {w}",
    "{alarm} at {w} please", "[can|could] you set an {alarm} for {w}?", "set the {alarm} to {w}",
    "add an {alarm} for {w}", "put an {alarm} on for {w}", "create an {alarm} for {w}",
    "i want an {alarm} set for {w}", "make an {alarm} for {w}", "turn on an {alarm} for {w}",
    "new {alarm}, {w}", "give me an {alarm} at {w}",
]  # fmt: skip
WAKE = [
    "{wake} at {w}", "{wake} {w}", "please {wake} at {w}", "[can|could|will] you {wake} at {w}?",
    "i have to get up at {w}, {wake} then", "{wake} at {w} please", "i need you to {wake} at {w}",
    "make sure to {wake} at {w}", "[hey|ok] cabin, {wake} at {w}", "at {w}, {wake}",
    "{wake} by {w}",
    "i'd like you to {wake} at {w}",
    "be sure to {wake} at {w}",
    "don't forget to {wake} at {w}",
    "{w}: {wake}",
]  # fmt: skip
SHOW = [
    "what {r} do i have?", "[show|list|read|tell] me my {r}", "[show|list] my {r}",
    "what are my {r}?", "do i have any {r}?", "any {r}( coming up)?", "my {r} please",
    "which {r} are set?", "are there any {r}?", "what {r} are [open|set|coming]?",
    "how many {r} do i have?", "{r}?", "read out my {r}", "go through my {r}", "check my {r}",
    "let me see my {r}",
    "what {r} are there?",
    "tell me about my {r}",
    "got any {r}?",
    "what {r} did i set?",
    "see {r}",
    "are my {r} set?",
    "what's coming up? my {r}",
]  # fmt: skip
CANCEL = [
    "cancel the reminder to {x}", "[cancel|delete|remove] my reminder to {x}",
    "don't remind me to {x}", "[delete|drop|remove] the reminder [about|for] {x}",
    "you don't need to remind me to {x} anymore", "forget the reminder to {x}",
    "cancel reminder: {x}", "stop reminding me to {x}",
    "i don't need the reminder to {x} [anymore|now]", "never mind the reminder to {x}",
    "please cancel the reminder to {x}", "get rid of the reminder to {x}",
]  # fmt: skip
CANCEL_TIMER = [
    "[cancel|delete|stop|remove|end] the {timer}", "[cancel|stop|end] my {timer}", "stop {timer}",
    "never mind the {timer}", "forget the {timer}", "turn off the {timer}",
    "[cancel|clear] {timer} please", "i don't need the {timer} [anymore|now]", "kill the {timer}",
    "please cancel the {timer}",
    "i'm done, no more {timer}",
    "shut off the {timer}",
    "drop the {timer}",
    "no {timer} after all",
]  # fmt: skip
REMINDED = (
    "I'll remind you on {day} {date} at {time}: {x}.", "Reminder set for {day} {date} {time}: {x}.",
    "I'll remind you {day} at {time}: {x}.",
)  # fmt: skip
RINGS = ("Your {x} is set for {time}.", "{X} set: it ends at {time}.", "OK, {x} set for {time}.")
ALARMED = ("{X} set for {day} at {time}.", "Your {x} is set for {day} {date} {time}.")
NAMES = (
    "pasta", "eggs", "rice", "tea", "laundry", "oven", "pizza", "bread", "nap", "break", "workout",
    "cookies", "study", "chicken", "plank",
)  # fmt: skip


def told(answers: tuple[str, ...], draw: float, results: Results) -> str:
    """When the reminder comes, read off what was set."""
    found = SET.fullmatch(results[0])
    assert found is not None, results[0]
    day, date, time, text = found.groups()
    text = yours(text)
    text_ = text[0].upper() + text[1:]
    return answers[int(draw * len(answers))].format(day=day, date=date, time=time, x=text, X=text_)


def length(rng: Random) -> str:
    """How long a timer runs, as written."""
    n = rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 45, 50, 60, 90))
    unit = "minute" if n == 1 else "minutes"
    return rng.choice(
        (
            f"{n} {unit}", f"{n} {unit}", f"{n} {unit}", f"{n} min", f"{max(n, 10)} seconds",
            f"{n}min", f"{rng.randrange(2, 9)} hours", "an hour", "1 hour", "half an hour",
            "an hour and a half",
            rng.choice(("five", "ten", "twenty", "fifteen", "thirty", "two")) + " minutes",
            f"1 hour and {max(n % 60, 2)} minutes",
        )
    )  # fmt: skip


def reminded(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """Of a task, at a time."""
    task, when = a_task(rng, fillers), a_time(rng)
    call = Call("notes_remind", {"text": task, "when": when})
    answer = partial(told, REMINDED, rng.random())
    return Turn(say(rng, pattern, x=task, w=when), answer, (call,))


def timed(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """A timer without a name: its text is the word for it."""
    name, lasts = rng.choice(("timer", "timer", "timer", "timer", "countdown")), length(rng)
    call = Call("notes_remind", {"text": name, "when": lasts})
    return Turn(say(rng, pattern, timer=name, d=lasts), partial(told, RINGS, rng.random()), (call,))


def named(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """A timer with a name."""
    name, lasts = fillers.of(rng, NAMES), length(rng)
    call = Call("notes_remind", {"text": name, "when": lasts})
    answer = partial(told, REMINDED, rng.random())
    return Turn(say(rng, pattern, x=name, d=lasts), answer, (call,))


def moment(rng: Random) -> str:
    """A time of day, with its day or without, as it follows `at`."""
    hour, minutes = rng.randrange(4, 13), rng.choice(("", ":30", ":15", ":45", ":10"))
    clock = f"{hour}{minutes}{rng.choice(('am', ' am', 'am', 'pm', ' pm'))}"
    day = rng.choice(
        (
            " tomorrow",
            " tomorrow",
            f" on {rng.choice(('monday', 'friday', 'sunday', 'thursday'))}",
            "",
            "",
            "",
        )
    )
    return clock + day


def alarmed(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """An alarm, and being woken: the text is the words for it."""
    when = moment(rng)
    name = (
        "alarm"
        if "{alarm}" in pattern
        else rng.choice(("wake me", "wake me up", "wake me up", "get me up"))
    )
    call = Call("notes_remind", {"text": name, "when": when})
    answers = (
        ALARMED
        if name == "alarm"
        else ("I'll wake you on {day} at {time}.", "OK: {day} {date}, {time}.")
    )
    return Turn(
        say(rng, pattern, alarm=name, wake=name, w=when),
        partial(told, answers, rng.random()),
        (call,),
    )


def shown(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """What reminders there are."""
    name = rng.choice(("reminders", "reminders", "reminders", "timers", "alarms"))
    tasks = list(dict.fromkeys(a_task(rng, fillers) for _ in range(rng.randrange(4))))
    world = World(todos=tuple(("reminders", task) for task in tasks))
    says = say(rng, pattern, r=name)
    call = Call("notes_list", {"list": name} if name == "reminders" else {})

    def reply(results: Results) -> str:
        texts = [yours(text) for _, _, text in LINE.findall(results[0])]
        return (
            "You have no reminders." if not texts else "Your reminders: " + ", ".join(texts) + "."
        )

    return Script((Turn(says, reply, (call,)),), world)


def cancelled(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """A reminder, or a timer, that was set a moment ago."""
    if "{timer}" in pattern:
        name = rng.choice(("timer", "alarm"))
        when = length(rng) if name == "timer" else moment(rng)
        opening = "set a timer for {w}" if name == "timer" else "set an alarm for {w}"
        opening = opening.replace(name, "{t}")
        text, answers = name, RINGS if name == "timer" else ALARMED
    else:
        text, when = a_task(rng, fillers), a_time(rng)
        opening, answers = "remind me to {t} {w}", REMINDED
    begin = Turn(
        say(rng, opening, t=text, w=when),
        partial(told, answers, rng.random()),
        (Call("notes_remind", {"text": text, "when": when}),),
    )

    def gone(results: Results) -> str:
        return f"Cancelled: {yours(results[0].partition(' is forgotten: ')[2])}."

    then = Turn(
        say(rng, pattern, x=text, timer=text), gone, (Call("notes_forget", {"thing": text}),)
    )
    return Script((begin, then))


TEMPLATES = [
    *templates("reminders/remind", reminded, REMIND),
    *templates("reminders/timer", timed, TIMER),
    *templates("reminders/named-timer", named, NAMED_TIMER),
    *templates("reminders/alarm", alarmed, ALARM),
    *templates("reminders/wake", alarmed, WAKE),
    *templates("reminders/show", shown, SHOW),
    *templates("reminders/cancel", cancelled, CANCEL),
    *templates("reminders/cancel-timer", cancelled, CANCEL_TIMER),
]
