"""Dice, coins, and one of several things."""

from collections.abc import Callable
from random import Random

from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.numbers import in_words
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Turn, templates

KINDS = ("food", "food", "city", "game", "movie", "color", "name", "animal", "sport", "country")
CHOICES = (
    "tea or coffee, cats or dogs, stay home or go out, red or blue, yes or no, now or later, "
    "pizza or pasta, train or bus, beach or mountains, the gym or a walk, cook or order in, "
    "sleep or study, a book or a movie, walk or drive, black or white, left or right, "
    "summer or winter, the blue shirt or the green one, monday or tuesday, me or you"
).split(", ")


def told(draw: float, choices: tuple[str, ...]) -> Callable[[Results], str]:
    """One of the answers with the {v} that came back."""

    def answer(results: Results) -> str:
        value = results[0]
        text = choices[int(draw * len(choices))].format(v=value)
        return text[0].upper() + text[1:]

    return answer


ROLLED = ("You rolled {v}.", "{v}.", "It's {v}.", "I rolled {v}.", "The dice say {v}.")
NUMBERS = ("{v}.", "It's {v}.", "Here you go: {v}.", "I'd say {v}.", "Your number is {v}.")
FLIPPED = ("{v}.", "It's {v}.", "The coin says {v}.", "You got {v}.")
PICKED = ("{v}.", "I pick {v}.", "Let's say {v}.", "My pick: {v}.", "Go for {v}.", "{v} it is.")


def dice(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """{n} dice (one, if the pattern names no number) of {s} sides (six, if none)."""
    count, sides = rng.randint(2, 8), rng.choice((4, 6, 8, 10, 12, 20, 20, 30, 100))
    arguments = {}
    if "{s}" in pattern and sides != 6:
        arguments["sides"] = sides
    if "{n}" in pattern:
        arguments["count"] = count
    n = in_words(count) if rng.random() < 0.4 else str(count)
    says = say(rng, pattern, n=n, s=sides)
    return Turn(says, told(rng.random(), ROLLED), (Call("random_roll", arguments),))


def number(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """From 1 to {m}."""
    most = rng.choice((5, 8, 10, 10, 12, 20, 25, 30, 50, 60, 75, 100, 100, 200, 500, 1000))
    call = Call("random_roll", {} if most == 6 else {"sides": most})
    return Turn(say(rng, pattern, m=most), told(rng.random(), NUMBERS), (call,))


def coin(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """One, or {n} of them."""
    count = rng.randint(2, 6)
    n = in_words(count) if rng.random() < 0.4 else str(count)
    call = Call("random_flip", {"count": count} if "{n}" in pattern else {})
    return Turn(say(rng, pattern, n=n), told(rng.random(), FLIPPED), (call,))


def pick(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """One of {o}."""
    if rng.random() < 0.3:
        options = fillers.of(rng, CHOICES)
    else:
        kind = rng.choice(KINDS)
        words = fillers.some(rng, kind, rng.choice((2, 2, 3, 3, 4)))
        if kind not in ("city", "name", "country", "movie", "game") or rng.random() < 0.3:
            words = [word.lower() for word in words]
        joint = rng.choice((" or ", " or ", ", ", " and "))
        options = ", ".join(words[:-1]) + joint + words[-1]
    call = Call("random_pick", {"options": options})
    return Turn(say(rng, pattern, o=options), told(rng.random(), PICKED), (call,))


def plain(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """A question about chance: no tool is needed."""
    text, _, answers = pattern.partition(" => ")
    return Turn(say(rng, text), rng.choice(answers.split(" / ")))


DICE = [
    "roll a [die|dice]( please| for me)",
    "[roll|throw] the dice",
    "roll [a d6|one die]",
    "[can|could] you roll a [die|dice]( for me)?",
    "i need a dice roll",
    "[let's|please] roll a die",
    "[dice|die] roll",
    "my turn, roll the dice",
    "we lost our dice, can you roll one?",
    "roll a {s}[-| ]sided [die|dice]",
    "roll a d{s}",
    "[throw|roll] a d{s}( for me| please)",
    "d{s}",
    "[can|could] you roll a d{s}?",
    "i need a d{s} roll",
    "[roll|throw] {n} dice",
    "roll {n} dice( for me| please)",
    "[can|could] you throw {n} dice?",
    "give me {n} dice rolls",
    "roll {n} {s}-sided dice",
    "roll {n} dice with {s} sides",
    "i attack! roll a d{s}",
    "roll for initiative",
]
NUMBER = [
    "[pick|choose|give me|tell me] a (random )number [between|from] 1 to {m}",
    "pick a (random )number between 1 and {m}",
    "(a )random number [between 1 and|up to|from 1 to] {m}",
    "[generate|make] a random number [up to|between 1 and] {m}",
    "think of a number between 1 and {m}",
    "[give me|i need] a number from 1 to {m}",
    "number between 1 and {m}( please)",
    "[can|could] you [pick|choose|generate] a number [between 1 and|up to|from 1 to] {m}?",
    "draw a number from 1 to {m}",
    "say a random number between 1 and {m}",
    "what's a random number up to {m}?",
    "raffle: 1 to {m}",
]
COIN = [
    "flip a coin",
    "[flip|toss|throw] a coin( please| for me)",
    "heads or tails?",
    "[can|could|would] you [flip|toss] a coin( for me)?",
    "coin [flip|toss]( please)",
    "[let's|i want to] flip a coin",
    "toss a coin and tell me [the result|what it is]",
    "i can't decide, flip a coin",
    "flip a coin to see who [goes|starts] first",
    "[hey|ok], heads or tails?",
    "do a coin toss",
    "flip {n} coins",
    "[flip|toss] a coin {n} times",
    "toss {n} coins( please| for me)",
    "what do i get if i flip a coin {n} times?",
]
PICK = [
    "pick one: {o}",
    "{o}?",
    "[choose|pick|select] [between|from|one of] {o}",
    "[choose|pick] {o}",
    "should i [have|take|go with|choose|get] {o}?",
    "[what|which] should i [choose|pick|take]: {o}?",
    "[help me|i need to|i can't] [choose|decide]: {o}",
    "i can't decide between {o}",
    "help me [choose|decide|pick] between {o}",
    "which( one) - {o}?",
    "random choice: {o}",
    "[can|could] you pick [one of|between|from] {o}( for me)?",
    "[decide|choose] for me: {o}",
    "{o}, you [choose|pick|decide]",
    "surprise me: {o}",
    "[randomly|just] pick {o}",
    "eeny meeny miny moe: {o}",
    "what's [better|it going to be|your pick], {o}?",
    "we are [arguing|undecided]: {o}?",
    "let fate decide: {o}",
    "[draw|choose] one from {o}",
    "tonight: {o}?",
    "which do you [pick|choose|prefer], {o}?",
    "i have [a choice|to choose]: {o}",
]
PLAIN = [
    "what are the odds of [heads|tails]? => One in two.",
    "what is the chance of rolling a six? => One in six.",
    "how many sides does a die have? => Six, as a rule.",
    "[pick|choose] one( for me) => One of what? Tell me the options.",
    "help me decide => Between what? Tell me the options and I'll pick one.",
    "are you (really )random? => The dice and coins are drawn at random, yes.",
    "[do you feel|are you] lucky? => I leave that to the dice. Shall I roll?",
    "can you roll dice? => Yes. How many, and with how many sides?",
    "is a coin toss fair? => Yes, heads and tails come up equally often.",
]

TEMPLATES = [
    *templates("chance/dice", dice, DICE),
    *templates("chance/number", number, NUMBER),
    *templates("chance/coin", coin, COIN),
    *templates("chance/pick", pick, PICK),
    *templates("chance/plain", plain, PLAIN),
]
