"""Dates and times: now, later, and how long between. What is meant is copied as it was said."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from cabinos.train.dialogues.families.moments import (
    ahead,
    back,
    coming,
    dated,
    holiday,
    named,
    passing,
    span,
)
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, templates

PLACES = (
    "Tokyo, London, Paris, New York, Los Angeles, Chicago, Berlin, Rome, Madrid, Moscow, Sydney, "
    "Beijing, Shanghai, Hong Kong, Singapore, Mumbai, Delhi, Dubai, Cairo, Istanbul, Toronto, "
    "Vancouver, Mexico City, Buenos Aires, Lagos, Nairobi, Johannesburg, Seoul, Bangkok, Jakarta, "
    "Manila, Karachi, Athens, Vienna, Prague, Warsaw, Stockholm, Oslo, Helsinki, Copenhagen, "
    "Amsterdam, Brussels, Zurich, Dublin, Lisbon, Kyiv, Auckland, Honolulu, Denver, Boston, Miami, "
    "Seattle, San Francisco, Dallas, Houston, Barcelona, Munich, Geneva, Japan, India, China, "
    "Germany, France, Italy, Brazil, California, Hawaii, Texas, Egypt, Kenya, UTC, GMT"
).split(", ")
ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d))?\S* \((\w+)\)")


# ---- what is answered ----------------------------------------------------------------------------

Answers = tuple[str, ...]
DATE: Answers = ("It's {w}, {d}.", "{w}, {d}.", "Today is {w}, {d}.", "It is {d}, a {w}.")
WEEKDAY: Answers = ("It's {w}.", "{w}.", "Today is {w}.", "It's {w}, {d}.")
TIME: Answers = ("It's {t}.", "{t}.", "It is {t} now.", "The time is {t}.")
THERE: Answers = ("It's {t} in {x}.", "In {x} it is {t}.", "It is {t} in {x}, {w}.", "{t}.")
THAT_DAY: Answers = ("That's {w}, {d}.", "{w}, {d}.", "It will be {w}, {d}.", "That is {d}, a {w}.")
WAS: Answers = ("That was {w}, {d}.", "{w}, {d}.", "It was {w}, {d}.")
FALLS: Answers = ("It's a {w}.", "{x} is a {w}.", "That's a {w}: {d}.", "{w}.", "A {w}.")
FELL: Answers = ("It was a {w}.", "{x} was a {w}.", "{w}.", "A {w}.")
AT: Answers = ("It will be {t}.", "{t}.", "That's {t} on {w}.", "At {t}.")
AGO: Answers = ("It was {t}.", "{t}.", "That was {t} on {w}.")


def answered(draw: float, choices: Answers, said: str, results: Results) -> str:
    """With the day {d}, the weekday {w} and the time {t} that came back."""
    day, clock, weekday = ISO.search(results[0]).groups()  # type: ignore[union-attr]
    text = choices[int(draw * len(choices))]
    text = text.format(d=day, t=clock or "", w=weekday, x=said)
    return text[0].upper() + text[1:]


def length(draw: float, unit: str, shape: str, results: Results) -> str:
    """`39 days (5 weeks 4 days; 1 month 9 days; 28 business days)` in the unit asked for."""
    days, inside = re.match(r"(\S+ days?) \((.*)\)", results[0]).groups()  # type: ignore[union-attr]
    ways = inside.split("; ")
    found = {"days": days, "hours": days}
    found["weeks"] = next((w for w in ways if "week" in w), days)
    found["months"] = next((w for w in ways if "month" in w or "year" in w), found["weeks"])
    found["years"] = found["months"]
    found["business days"] = next(w for w in ways if "business" in w)
    told = found[unit]
    plain = ("{v}.", "It's {v}.", shape, shape)
    text = plain[int(draw * len(plain))].format(v=told)
    return text[0].upper() + text[1:]


# ---- conversations -------------------------------------------------------------------------------

Said = Callable[[Random], str]


def now(answers: Answers) -> Callable[..., Turn]:
    """A turn that asks for the time, the day or the date."""

    def write(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
        reply = partial(answered, rng.random(), answers, "")
        return Turn(say(rng, pattern), reply, (Call("clock_now", {}),))

    return write


def there(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """What time it is in {x}."""
    place = fillers.of(rng, PLACES)
    place = place.lower() if rng.random() < 0.4 else place
    reply = partial(answered, rng.random(), THERE, place)
    return Turn(say(rng, pattern, x=place), reply, (Call("clock_now", {"zone": place}),))


def day_of(what: Said, answers: Answers) -> Callable[..., Turn]:
    """A turn in which the day, or the time, stands as it is."""

    def write(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
        x = what(rng)
        reply = partial(answered, rng.random(), answers, x)
        return Turn(say(rng, pattern, x=x), reply, (Call("clock_add", {"start": x}),))

    return write


def shifted(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """So long after a day, or before it."""
    x = coming(rng) if rng.random() < 0.5 else dated(rng, 2015, 2035)
    x = "tomorrow" if rng.random() < 0.1 else x
    count, n, unit = span(rng)
    business = unit.startswith("day") and rng.random() < 0.2
    sign = -1 if "before" in pattern else 1
    key = "business_days" if business else f"{unit.removesuffix('s')}s"
    call = Call("clock_add", {"start": x, key: sign * count})
    said = f"business {unit}" if business else unit
    choices = (
        "That's {w}, {d}.",
        "{w}, {d}.",
        "{d}, a {w}.",
        f"{n} {said} {'before' if sign < 0 else 'after'} {x} is {{w}}, {{d}}.",
    )
    return Turn(
        say(rng, pattern, x=x, n=n, unit=said), partial(answered, rng.random(), choices, x), (call,)
    )


def until(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """How long it is until {x}."""
    x = coming(rng) if rng.random() < 0.7 else dated(rng, 2034, 2040)
    unit = (
        rng.choice(("days", "days", "days", "weeks", "months")) if "{unit}" in pattern else "days"
    )
    call = Call("clock_between", {"start": "today", "end": x})
    reply = partial(length, rng.random(), unit, f"{{v}} until {x}.")
    return Turn(say(rng, pattern, x=x, unit=unit), reply, (call,))


def since(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """How long ago {x} was."""
    x = dated(rng, 1950, 2022)
    unit = rng.choice(("days", "days", "weeks", "years")) if "{unit}" in pattern else "years"
    call = Call("clock_between", {"start": x, "end": "today"})
    reply = partial(length, rng.random(), unit, f"{{v}} since {x}.")
    return Turn(say(rng, pattern, x=x, unit=unit), reply, (call,))


def aged(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """How old somebody is who was born on {x}."""
    x, name = dated(rng, 1930, 2021), fillers.one(rng, "name")
    call = Call("clock_between", {"start": x, "end": "today"})
    shape = "{v} old."
    if "{name}" in pattern:
        shape = f"{name} is {{v}} old."
    elif re.search(r"\b(i|my|me|am)\b", pattern):
        shape = "You are {v} old."
    reply = partial(length, rng.random(), "years", shape)
    return Turn(say(rng, pattern, x=x, name=name), reply, (call,))


def between(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """How long it is from {x} to {y}."""
    x, y = (dated(rng, *years) for years in ((1990, 2024), (2025, 2040)))
    unit = rng.choice(("days", "days", "weeks", "months", "business days"))
    unit = unit if "{unit}" in pattern else "days"
    call = Call("clock_between", {"start": x, "end": y})
    reply = partial(length, rng.random(), unit, "That's {v}.")
    return Turn(say(rng, pattern, x=x, y=y, unit=unit), reply, (call,))


def again(rng: Random, fillers: Fillers, pattern: str) -> Script:
    """Another day or place in the place of the first."""
    if "{place}" in pattern:
        first, second = fillers.of(rng, PLACES), fillers.of(rng, PLACES)
        turns: Sequence[tuple[str, str]] = (
            (say(rng, "what time is it in {x}?", x=first), first),
            (say(rng, pattern, place=second), second),
        )
        return Script(
            tuple(
                Turn(
                    says,
                    partial(answered, rng.random(), THERE, x),
                    (Call("clock_now", {"zone": x}),),
                )
                for says, x in turns
            )
        )
    first, second = coming(rng), coming(rng)
    opening = rng.choice(("how many days until {x}?", "how long until {x}", "days till {x}"))
    return Script(
        tuple(
            Turn(
                say(rng, wording, x=x),
                partial(length, rng.random(), "days", f"{{v}} until {x}."),
                (Call("clock_between", {"start": "today", "end": x}),),
            )
            for wording, x in ((opening, first), (pattern, second))
        )
    )


def explained(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """No date is asked for, so no tool."""
    text, _, answers = pattern.partition(" => ")
    return Turn(say(rng, text), rng.choice(answers.split(" / ")))


TIMES = [
    "what time is it?",
    "what time is it( right) now?",
    "(what's )the time( please)",
    "time?",
    "time",
    "[what's|whats|what is] the time( now| right now)?",
    "[can|could] you tell me [the time|what time it is]?",
    "do you [have|know] the time?",
    "tell me the time( please)",
    "[hey|hi|ok|excuse me], what time is it?",
    "current time( please)",
    "[what's|give me] the current time",
    "is it late( already)?",
    "how late is it?",
    "what hour is it?",
    "got the time?",
    "i need to know [the time|what time it is]",
    "check the [time|clock]( for me)",
    "what does the clock say?",
]
TODAYS = [
    "what's the date( today)?",
    "what is [today's|the current|todays] date?",
    "[what's|whats|what is] today's date",
    "today's date( please)",
    "date( please)",
    "what date is it( today| now)?",
    "[can|could] you tell me [today's date|the date|what the date is]?",
    "tell me [the date|today's date]",
    "which date is it?",
    "what's the date and (the )day( today)?",
    "i forgot [the date|what date it is]",
    "do you know [the date|today's date|what the date is]?",
    "i need today's date( for a form| for a letter)",
    "what [year|month] is it?",
    "which [year|month] are we in?",
    "[date|today]?",
    "the date today",
]
DAYS = [
    "what day is it( today)?",
    "which day is it?",
    "what day of the week is it( today)?",
    "[what|which] weekday is (it )today?",
    "is it the weekend( yet)?",
    "is today a weekday?",
    "[tell me|do you know] what day it is",
    "what day is today?",
    "what's today?",
    "[hey|hi|um], what day are we on?",
    "i've lost track, what day is it?",
    "today is what day?",
]
ZONES = [
    "what time is it in {x}( right now| now)?",
    "what time is it in {x}",
    "[what's|whats|what is] the time in {x}?",
    "time in {x}( please)",
    "{x} time",
    "[current|local] time in {x}",
    "what's the [current|local] time in {x}?",
    "[can|could] you tell me [the time in {x}|what time it is in {x}]?",
    "tell me what time it is in {x}",
    "if i call [someone|my friend|my mum] in {x} now, what time is it there?",
    "is it [late|early|night|morning] in {x}( now)?",
    "what's {x} time( right now)?",
    "how late is it in {x}?",
    "do you know what time it is in {x}?",
    "my [sister|colleague|boss|friend] lives in {x}, what time is it [there|for them]?",
    "[hey|ok], time in {x}?",
    "i'm [flying|moving|travelling] to {x}, what time is it there?",
    "what [day|date] is it in {x}( now)?",
    "clock in {x}",
    "give me the time in {x}",
]
AHEAD = [
    "what [date|day] [is|will it be|will that be] {x}?",
    "what's the date {x}?",
    "{x}, what [date|day] is that?",
    "what day is {x}?",
    "which [day|date] is {x}?",
    "date {x}",
    "{x} is what date?",
    "[tell me|do you know|i need] the date {x}( please)",
    "[can|could] you tell me [what date it is|what date it will be|the date] {x}?",
    "what date will it be {x}?",
    "my [exam|flight|appointment|deadline|holiday] is {x}. what [date|day] is that?",
    "when is {x}?",
    "what weekday is {x}?",
    "calculate the date {x}",
    "[the rent|the bill|it] is due {x}, which date is that?",
    "{x}, which date would that be?",
    "find the date {x}",
    "what will the date be {x}?",
]
BACK = [
    "what [date|day] was [it|that] {x}?",
    "what day was {x}?",
    "what was the date {x}?",
    "date {x}",
    "{x}, what date was that?",
    "which day was it {x}?",
    "i [moved here|started|bought it|left] {x}. what date was that?",
    "[can|could] you tell me the date {x}?",
]
WEEKDAYS_OF = [
    "what day( of the week) is {x}?",
    "what day [of the week is|is] {x}?",
    "what day does {x} fall on?",
    "[which|what] weekday is {x}?",
    "on [what|which] day is {x}?",
    "is {x} [a weekday|on a weekend|a monday|a saturday]?",
    "{x} is [which|what] day?",
    "weekday of {x}",
    "what day will {x} be?",
    "[tell me|do you know] what day {x} is",
    "{x}: which day of the week?",
    "will {x} be a [weekend|weekday|friday|sunday]?",
]
WHEN = [
    "when is {x}( this year)?",
    "when's {x}?",
    "[tell me|do you know] when {x} is",
    "date of {x}( please)",
    "{x} date",
    "[which|what] date is {x}( on)?",
    "when does {x} fall( this year)?",
    "what day is {x}( this year)?",
    "{x} is when?",
    "on which date is {x}?",
]
WEEKDAYS_WERE = [
    "what day( of the week) was {x}?",
    "[which|what] weekday was {x}?",
    "i was born on {x}, what day was that?",
    "what day of the week did {x} fall on?",
    "on which day was {x}?",
    "was {x} a [monday|sunday|weekend|weekday]?",
    "weekday of {x}",
    "[we got married|my son was born|it happened] on {x}. which day of the week was that?",
]
HOURS = [
    "what time will it be {x}?",
    "what time is it {x}?",
    "{x}, what time is that?",
    "time {x}",
    "what's the time {x}?",
    "[tell me|calculate] the time {x}",
    "my [meeting|train|class|shift] is {x}, what time is that?",
    "{x}, where will the clock be?",
    "what will the clock say {x}?",
    "how late is it {x}?",
]
HOURS_AGO = ["what time was it {x}?", "what was the time {x}?", "{x}, what time was that?"]
SHIFTED = [
    "what [date|day] is {n} {unit} after {x}?",
    "{n} {unit} after {x}",
    "what is {n} {unit} after {x}?",
    "what's the date {n} {unit} after {x}?",
    "what [day|date] comes {n} {unit} after {x}?",
    "add {n} {unit} to {x}",
    "{x} plus {n} {unit}",
    "{n} {unit} from {x}",
    "when is {n} {unit} after {x}?",
    "if it starts on {x} and [takes|lasts] {n} {unit}, when [does it end|is it over]?",
    "i have {n} {unit} from {x}, what's the deadline?",
    "the warranty is {n} {unit} from {x}. when does it run out?",
    "[calculate|tell me] the date {n} {unit} after {x}",
    "what [date|day] is {n} {unit} before {x}?",
    "{n} {unit} before {x}",
    "when is {n} {unit} before {x}?",
    "i have to [book|pay|apply] {n} {unit} before {x}, when is that?",
    "what's the date {n} {unit} before {x}?",
    "which day is {n} {unit} past {x}?",
    "go {n} {unit} on from {x}",
    "{x}, then {n} {unit} more, what date is that?",
    "starting {x}, where are we after {n} {unit}?",
    "{n} {unit} later than {x}",
    "i'm off for {n} {unit} from {x}, when am i back?",
]
UNTIL = [
    "how many {unit} [until|till|til|to|before] {x}?",
    "how many {unit} [are there |are left |]until {x}?",
    "how long [until|till|is it until|is it till|before] {x}?",
    "{unit} [until|till|to] {x}",
    "how many {unit} [left |to go ]until {x}?",
    "how far away is {x}?",
    "when is {x}? how many {unit} [left|away] is it?",
    "[countdown|count the days] to {x}",
    "time [until|left until] {x}",
    "how many {unit} is it to {x}?",
    "[can|could] you tell me how [long|many days] it is until {x}?",
    "tell me how many {unit} [remain|are left] until {x}",
    "how much longer until {x}?",
    "i can't wait for {x}! how many {unit} [left|is it]?",
    "my [exam|trip|wedding|birthday|deadline] is on {x}, how many {unit} do i have?",
    "how many {unit} do i have left until {x}?",
    "how soon is {x}?",
    "is {x} far away?",
    "number of {unit} until {x}",
    "how many sleeps till {x}?",
    "{x} is in how many {unit}?",
    "{x} is how far off?",
    "how long do we have until {x}?",
    "count down to {x}",
    "what's the time left to {x}?",
    "days to go until {x}",
    "how many days away is {x}?",
    "{unit} remaining to {x}",
    "when {x} comes, how many {unit} is that from now?",
]
SINCE = [
    "how many {unit} since {x}?",
    "how long [has it been|is it] since {x}?",
    "how many {unit} [have passed|is it|has it been] since {x}?",
    "{unit} since {x}",
    "how long ago was {x}?",
    "[i quit smoking|i moved here|we met|i started this job] on {x}, how long ago [is|was] that?",
    "how much time has passed since {x}?",
    "how many {unit} ago was {x}?",
    "{x} was how long ago?",
    "it's been how many {unit} since {x}?",
    "i have lived here since {x}, how long is that?",
    "time since {x}",
]
AGES = [
    "how old is someone born (on ){x}?",
    "i was born (on ){x}, how old am i?",
    "my birthday is {x}. how old am i?",
    "born {x}, how old?",
    "{name} was born (on ){x}. how old is {name}( now)?",
    "how old is {name} if the birthday is {x}?",
    "age of [someone|a person] born (on ){x}",
    "calculate my age, i was born on {x}",
    "what's my age if i was born on {x}?",
    "my [dog|cat|son|daughter] was born on {x}, how old is that?",
    "date of birth {x}, what age is that?",
]
BETWEEN = [
    "how many {unit} [are there |are |]between {x} and {y}?",
    "{unit} between {x} and {y}",
    "how long is it from {x} to {y}?",
    "from {x} to {y}, how many {unit} is that?",
    "how many {unit} from {x} to {y}?",
    "how much time is there between {x} and {y}?",
    "what's the difference between {x} and {y} in {unit}?",
    "[calculate|count] the {unit} between {x} and {y}",
    "[tell me|do you know] how many {unit} [are|lie] between {x} and {y}",
    "{x} to {y} in {unit}",
    "the project runs from {x} to {y}. how many {unit} is that?",
    "we lived there from {x} until {y}, how long was that?",
]
AGAIN = [
    "[and|what about|how about] {x}?",
    "and until {x}?",
    "[sorry|no|oops], i meant {x}",
    "no, until {x}",
    "[and|what about|how about] in {place}?",
    "[and|what about] {place}?",
    "[sorry|no], i meant {place}",
]
MEANINGS = [
    "what is a leap year? => A year with a 29 February; most years that four divides are one.",
    "how many days [are in|does] a year( have)? => 365, and 366 in a leap year.",
    "how many days are in [january|march|may|july|august|october|december]? => 31.",
    "how many days are in [april|june|september|november]? => 30.",
    "how many days are in february? => 28, and 29 in a leap year.",
    "how many hours are (there )in a day? => 24.",
    "how many months are (there )in a year? => Twelve.",
    "how many days are (there )in a week? => Seven.",
    "what comes after monday? => Tuesday.",
    "what is a time zone? => A region where all clocks show the same time.",
    "what does [am|pm] mean? => AM is before noon, PM is after noon.",
    "why do we have daylight saving time? => To have more daylight in summer evenings.",
    "how long is it? => From when to when?",
    "how many days [is it|until then|left]? => Until which day?",
    "how old am i? => Tell me when you were born and I'll work it out.",
    "i don't have (any )time => Then I'll keep it short. What do you need?",
    "time flies => It does! Is there anything I can do for you?",
    "how old are you? => I'm a program, so I have no age. / I have no birthday; I'm software.",
    "[what|which] month comes after may? => June.",
    "what is [gmt|utc]? => The time that all time zones are counted from.",
    "how many seconds are (there )in a minute? => Sixty.",
    "how many minutes are (there )in an hour? => Sixty.",
    "what is a fortnight? => Two weeks.",
    "what is a decade? => Ten years.",
    "which month has the fewest days? => February.",
    "what's a weekday? => Any day from Monday to Friday.",
    "what does noon mean? => Twelve o'clock in the day.",
    "how many weeks are (there )in a year? => Fifty-two, and a day or two.",
]

TEMPLATES = [
    *templates("dates/time", now(TIME), TIMES),
    *templates("dates/today", now(DATE), TODAYS),
    *templates("dates/weekday", now(WEEKDAY), DAYS),
    *templates("dates/zone", there, ZONES),
    *templates("dates/ahead", day_of(ahead, THAT_DAY), AHEAD),
    *templates("dates/back", day_of(back, WAS), BACK),
    *templates("dates/falls", day_of(named, FALLS), WEEKDAYS_OF),
    *templates("dates/when", day_of(holiday, THAT_DAY), WHEN),
    *templates("dates/fell", day_of(lambda rng: dated(rng, 1940, 2022), FELL), WEEKDAYS_WERE),
    *templates("dates/hours", day_of(partial(passing, False), AT), HOURS),
    *templates("dates/hours-ago", day_of(partial(passing, True), AGO), HOURS_AGO),
    *templates("dates/shifted", shifted, SHIFTED),
    *templates("dates/until", until, UNTIL),
    *templates("dates/since", since, SINCE),
    *templates("dates/age", aged, AGES),
    *templates("dates/between", between, BETWEEN),
    *templates("dates/again", again, AGAIN),
    *templates("dates/meaning", explained, MEANINGS),
]
