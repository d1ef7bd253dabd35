"""Arithmetic: the expression is copied as it was typed, and the device reads it."""

# ruff: noqa: E501 - one wording a line

from collections.abc import Callable
from functools import partial
from random import Random

from cabinos.drivers.model.readings import readable
from cabinos.train.dialogues.families.answers import VALUE, told
from cabinos.train.dialogues.families.expressions import (
    named,
    off,
    order,
    percent,
    share_question,
    signs,
    spoken,
    tip,
)
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.numbers import integer, money, spelled_or_not, value_of
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, templates

# ---- conversations -------------------------------------------------------------------------------

Expression = Callable[[Random], str]


def copied(make: Expression, answers: tuple[str, ...] | None = None) -> Callable[..., Turn]:
    """A turn in which the expression stands as it is."""

    def write(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
        e = make(rng)
        says = say(rng, pattern, e=e)
        call = Call("calculate", {"expression": e})
        return Turn(says, partial(told, rng.random(), e, answers), (call,))

    return write


def priced(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """A sale: the thing has a name."""
    e, thing = off(rng), fillers.one(rng, "thing")
    answers = ("That comes to {v}.", "You'd pay {v}.", "{e} is {v}.", "It would cost {v}.")
    call = Call("calculate", {"expression": e})
    return Turn(
        say(rng, pattern, e=e, thing=thing), partial(told, rng.random(), e, answers), (call,)
    )


def composed(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """A small story, with its numbers put into an expression after the bar in the pattern."""
    text, _, shape = pattern.partition(" => ")
    shape, _, answer = shape.partition(" => ")
    sign = rng.choice(("$", "$", ""))
    people = rng.randint(2, 9)
    values = {
        "a": integer(rng, 500, 5),
        "b": rng.randint(2, 40),
        "n": spelled_or_not(rng, people),
        "m": money(rng, 500),
        "k": money(rng, 60),
        "p": rng.choice((5, 8, 10, 12, 15, 18, 20, 22, 25, 30, 40)),
        "s": sign,
        "food": fillers.one(rng, "food").lower(),
        "thing": fillers.one(rng, "thing"),
        "name": fillers.one(rng, "name"),
    }
    says = say(rng, text, **values)
    read = readable("arithmetic", [says])  # what can be read as it stands is copied as it stands
    e = read[0] if read else shape.format(**values)

    def reply(results: Results) -> str:
        return answer.format(v=value_of(results[0])[0], **values)

    return Turn(says, reply, (Call("calculate", {"expression": e}),))


def corrected(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """Another expression in the place of the first."""
    make = rng.choice((signs, spoken, percent, named))
    first, second = make(rng), make(rng)
    opening = rng.choice(("what is {e}?", "{e}", "calculate {e}", "how much is {e}?"))
    return Script(
        tuple(
            Turn(
                say(rng, wording, e=e),
                partial(told, rng.random(), e, None),
                (Call("calculate", {"expression": e}),),
            )
            for wording, e in ((opening, first), (pattern, second))
        )
    )


def by_zero(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """A division that the device refuses."""
    a = integer(rng)
    e = rng.choice((f"{a}/0", f"{a} / 0", f"{a} divided by 0", f"{a} divided by zero"))
    answer = rng.choice(
        (
            "That can't be done: nothing can be divided by zero.",
            "Dividing by zero has no answer.",
            "There is no result: that would divide by zero.",
        )
    )
    return Turn(say(rng, pattern, e=e), answer, (Call("calculate", {"expression": e}, fails=True),))


def explained(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """A question about arithmetic, not one of it: no tool is needed."""
    text, _, answers = pattern.partition(" => ")
    return Turn(say(rng, text), rng.choice(answers.split(" / ")))


# ---- wordings ------------------------------------------------------------------------------------

QUESTIONS = [
    "{e}",
    "{e}",
    "{e}?",
    "{e} =",
    "{e} = ?",
    "{e} please",
    "[what is|what's|whats] {e}?",
    "[what is|what's] {e}",
    "what does {e} [equal|come to|make|give]?",
    "[how much|how many] is {e}?",
    "how much [would|does] {e} [be|come to|make]?",
    "[calculate|compute|evaluate|work out|figure out|solve] {e}",
    "(please )[calculate|compute|work out] {e}( for me)(, thanks)",
    "[can|could|would] you [calculate|compute|work out|do|tell me] {e}( please)?",
    "[tell me|give me] [what {e} is|the result of {e}|the answer to {e}]",
    "i need [to know ]{e}",
    "i need to [know|calculate|work out] {e}",
    "do you know what {e} is?",
    "[hey|hi|hello|ok|okay]( there|cabin)?, what's {e}?",
    "quick [question|one|maths|math]: {e}",
    "[what do you get|what do i get] [for|if you do|from] {e}?",
    "what would {e} be?",
    "my [homework|calculator|teacher|son|boss] [says|asks|wants to know] {e}",
    "[so |and |um ]what's {e} then?",
    "help me with {e}( please)",
    "[answer|math|maths|sum]: {e}",
    "i'm [stuck on|not sure about|trying to work out] {e}",
    "[let's|let us] see, {e}",
    "[can you help me with|could you check|what about|how about] {e}?",
    "[i want|i'd like] to know [what {e} is|how much {e} is]",
    "find {e}",
    "whats the [answer|result|value|total] [of|for|to] {e}?",
    "do the math( for me)?: {e}",
    "{e}, what is it?",
    "{e} equals( what)?",
    "what is the [value|result|answer] [of|to] {e}?",
    "use the calculator( for| on)? {e}",
    "no idea what {e} is, [you|do you know]?",
]
ORDERS = [
    "{e}",
    "{e}",
    "{e}( please)",
    "please {e}( for me)",
    "[can|could|would] you {e}( please)?",
    "i need you to {e}",
    "[hey|ok|okay], {e}",
    "[what happens|what do you get|what do i get] if [you|i] {e}?",
    "how do i {e}? just the [answer|number]( please)",
    "{e} and tell me the [answer|result]",
    "i want to {e}",
    "let's {e}",
    "if i {e}, what [is it|do i get|comes out]?",
]
PERCENTS = [
    "{e}",
    "{e}?",
    "{e} please",
    "[what is|what's|whats] {e}?",
    "how much is {e}?",
    "[calculate|work out|compute|find] {e}",
    "[can|could] you [tell me|work out|calculate|figure out] {e}?",
    "i [need|want] to know [what|how much] {e} is",
    "how much would {e} be?",
    "tell me [what|how much] {e} is( please)",
    "[my boss|my landlord|the bank|the shop] wants {e}, how much is that?",
    "if i [save|pay|keep|lose|get] {e}, how much is [that|it]?",
    "i [earn|get|owe|pay] {e}( in commission| as a fee), [how much is that|what does that come to]?",
    "they [charge|take|added] {e}. how much is it?",
    "[quick question|hey], what is {e}?",
    "give me {e}",
    "what does {e} come to?",
    "do you know what {e} is?",
]
SALES = [
    "[what is|what's|how much is] {e}?",
    "{e}",
    "how much [do i pay|will i pay|is it] at {e}?",
    "the {thing} is {e}, [how much is that|what do i pay|what's the price now]?",
    "there's a {thing} at {e}. what's the [final|new|sale] price?",
    "i found a {thing} for {e}, what does it cost( me)?",
    "[calculate|work out] {e}",
    "if a {thing} is {e}, how much [do i pay|does it cost|is it]?",
    "what's the price after {e}?",
    "[sale|discount]: {e}. how much?",
    "how much would a {thing} be with {e}?",
    "i have a coupon( for the {thing}): {e}. what will it cost?",
]
TIPS = [
    "[what is|what's] a {e}?",
    "{e}",
    "[how much is|calculate|work out] [a |the ]{e}",
    "[what's|how much is] the {e}?",
    "i want to leave a {e}, how much is [that|it]?",
    "[can|could] you [calculate|work out] a {e}( for me)?",
    "how much should i [leave|pay] for a {e}?",
    "we're at a restaurant, what's a {e}?",
    "tell me [how much|what] a {e} [is|would be]",
    "[need|give me] a {e} please",
]
STORIES = [
    "i have a bill of {s}{m}, what would a {p}% tip be? => {p}% of {m} => A {p}% tip is {s}{v}.",
    "the bill is {s}{m}, how much is a {p}% tip? => {p}% of {m} => A {p}% tip comes to {s}{v}.",
    "my [dinner|lunch|meal] cost {s}{m} and i want to tip {p} percent => {p}% of {m} => Tip {s}{v}.",
    "[what's|how much is] the total with a {p}% tip if the bill is {s}{m}? => {m} + {p}% => With the tip it is {s}{v}.",
    "[split|divide] {s}{m} between {n} people => {m} / {n} => Each pays {s}{v}.",
    "{n} of us [have to|want to] split a bill of {s}{m}, how much does each [pay|owe]? => {m} / {n} => Each person pays {s}{v}.",
    "the {thing} costs {s}{m} and it's {p}% off, what do i pay? => {p}% off {m} => You pay {s}{v}.",
    "a {thing} for {s}{m} with a {p}% discount, how much is that? => {p}% off {m} => With the discount it costs {s}{v}.",
    "{s}{m} with {p}% off => {p}% off {m} => That makes {s}{v}.",
    "add {p}% tax to {s}{m} => {m} + {p}% => With tax it is {s}{v}.",
    "how much is {s}{m} [plus|with|including] {p}% [vat|tax]? => {m} + {p}% => That is {s}{v} in all.",
    "i bought {b} [boxes|bags|packs|jars] of {food} at {s}{k} each, what did i spend? => {b} * {k} => You spent {s}{v}.",
    "[if|when] one {thing} costs {s}{k}, how much are {b}( of them)? => {b} * {k} => {b} cost {s}{v}.",
    "{name} has {a} [stamps|marbles|cards|coins] and gives away {b}, how many are left? => {a} - {b} => {v} are left.",
    "{name} had {a} [euros|dollars] and got {b} more, how much is that? => {a} + {b} => That makes {v}.",
    "i drove {a} miles in {b} hours, what was my average speed? => {a} / {b} => You averaged {v} miles per hour.",
    "a {thing} costs {s}{m}. how much for {n}? => {m} * {n} => {n} cost {s}{v}.",
    "[how many|what number of] [rows|boxes|tables] of {b} [do i need|are needed] for {a} [chairs|eggs|people]? => {a} / {b} => {a} divided by {b} is {v}.",
    "i [make|earn] {s}{k} an hour, how much is that for {b} hours? => {k} * {b} => For {b} hours it is {s}{v}.",
    "i paid {s}{m} and got {s}{k} back, what did it cost? => {m} - {k} => It cost {s}{v}.",
    "area of a room {a} by {b} feet => {a} * {b} => The area is {v} square feet.",
    "{a} people and {b} [pizzas|cakes|buses], how many each? => {a} / {b} => {a} divided by {b} is {v}.",
]
CORRECTIONS = [
    "[sorry|oops], i meant {e}",
    "no, {e}",
    "[no wait|wait], {e}",
    "i meant {e}( actually)",
    "make that {e}",
    "and {e}?",
    "[what about|how about] {e}?",
    "and what's {e}?",
    "[now|next] {e}",
    "not that, {e}",
]
MEANINGS = [
    "what is a percentage? => A percentage is a share of a hundred. / It's a part of a hundred: 5% is 5 of 100.",
    "[what does percent mean|explain percent(ages)( to me)] => Percent means out of a hundred.",
    "what is a prime( number)? => A prime is a whole number above 1 that only 1 and itself divide.",
    "[what is|explain] an average => It's the sum of the numbers divided by how many there are.",
    "what is a square root? => The square root of a number is what, times itself, gives that number.",
    "[how do you|how do i] [calculate|work out] a percentage? => Divide the part by the whole and multiply by 100.",
    "how does [long division|multiplication] work? => I can do sums for you; tell me the numbers.",
    "(are you )good at [math|maths|arithmetic|numbers]? => Yes, I use a calculator. Give me something to work out.",
    "can you do [math|maths|sums|calculations]? => Yes. Tell me what to calculate.",
    "[i hate|i love] [math|maths|numbers] => I can do the sums for you if you like.",
    "can you calculate something( for me)? => Sure, what should I calculate? / Of course. What is it?",
    "[i need help with|help me with] [a calculation|some maths|a sum] => Sure, tell me the numbers.",
    "what's the tip? => What is the bill, and what percentage do you want to tip?",
    "how much is a 20% tip? => On what amount? / What is the bill?",
    "[calculate|work out] the total => The total of which numbers?",
    "what is a fraction? => A fraction is a part of a whole, like one half.",
]

_SUMS = [copied(make) for make in (signs, signs, spoken, named)]


def any_sum(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """In signs, in words, or by a name."""
    return rng.choice(_SUMS)(rng, fillers, pattern)


TEMPLATES = [
    *templates("calculate/sum", any_sum, QUESTIONS),
    *templates("calculate/order", copied(order, VALUE), ORDERS),
    *templates("calculate/percent", copied(percent), PERCENTS),
    *templates("calculate/share", copied(share_question, VALUE), ["{e}", "{e}?", "tell me {e}"]),
    *templates("calculate/sale", priced, SALES),
    *templates("calculate/tip", copied(tip), TIPS),
    *templates("calculate/story", composed, STORIES),
    *templates("calculate/again", corrected, CORRECTIONS),
    *templates("calculate/zero", by_zero, ["what is {e}?", "{e}", "[compute|calculate] {e}"]),
    *templates("calculate/meaning", explained, MEANINGS),
]
