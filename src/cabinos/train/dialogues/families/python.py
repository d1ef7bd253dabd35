"""Small programs: what no other tool does, a line or two of Python does."""

# ruff: noqa: E501 - one wording a line

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.numbers import integer
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Turn, templates

VOWELS = "aeiou"


@dataclass(frozen=True, slots=True)
class Task:
    """What fills the wording, the program, and how its value {v} is told."""

    values: dict[str, object]
    code: str
    answers: tuple[str, ...] = ("{v}", "The result is {v}.", "It's {v}.")


def _listed(items: list[object]) -> str:
    return ", ".join(map(str, items))


def _some(rng: Random, least: int = 3, most: int = 6) -> list[int]:
    most_of_all = rng.choice((20, 100, 1000))
    return [rng.randint(0, most_of_all) for _ in range(rng.randint(least, most))]


def _word(rng: Random, fillers: Fillers) -> str:
    return fillers.one(rng, rng.choice(("noun", "noun", "animal", "food", "name"))).lower()


def _ordered(rng: Random, _fillers: Fillers) -> Task:
    found = _some(rng)
    return Task(
        {"l": _listed(list(found))},
        f"sorted({found})",
        ("{v}", "Sorted: {v}", "Here they are: {v}"),
    )


def _descending(rng: Random, _fillers: Fillers) -> Task:
    found = _some(rng)
    return Task(
        {"l": _listed(list(found))},
        f"sorted({found}, reverse=True)",
        ("{v}", "From the largest: {v}"),
    )


def _alphabet(rng: Random, fillers: Fillers) -> Task:
    found = [
        word.lower()
        for word in fillers.some(rng, rng.choice(("food", "animal", "name")), rng.randint(3, 5))
    ]
    return Task({"l": _listed(list(found))}, f"sorted({found!r})", ("{v}", "In order: {v}"))


def _letters(rng: Random, fillers: Fillers) -> Task:
    word = _word(rng, fillers)
    letter = rng.choice(word.replace(" ", "") if rng.random() < 0.85 else "aeiourst")
    code = f"{word!r}.count({letter!r})"
    return Task(
        {"w": word, "c": letter},
        code,
        ("{v}", "There are {v}.", "{w} has {v} of them.", 'The letter {c} is in "{w}" {v} times.'),
    )


def _backwards(rng: Random, fillers: Fillers) -> Task:
    word = _word(rng, fillers)
    return Task({"w": word}, f"{word!r}[::-1]", ("{v}", "It's {v}.", "{w} backwards is {v}."))


def _length(rng: Random, fillers: Fillers) -> Task:
    word = _word(rng, fillers)
    return Task({"w": word}, f"len({word!r})", ("{v}", "It has {v}.", "{w} has {v} letters."))


def _words(rng: Random, fillers: Fillers) -> Task:
    text = " ".join(_word(rng, fillers) for _ in range(rng.randint(3, 8)))
    return Task(
        {"w": text}, f"len({text!r}.split())", ("{v}", "{v} words.", "There are {v} words.")
    )


def _vowels(rng: Random, fillers: Fillers) -> Task:
    word = _word(rng, fillers)
    return Task(
        {"w": word},
        f"sum(c in '{VOWELS}' for c in {word!r})",
        ("{v}", "{v} vowels.", "{w} has {v} vowels."),
    )


def _capitals(rng: Random, fillers: Fillers) -> Task:
    word = _word(rng, fillers)
    return Task({"w": word}, f"{word!r}.upper()", ("{v}",))


def _palindrome(rng: Random, fillers: Fillers) -> Task:
    word = rng.choice(
        (
            "level",
            "radar",
            "kayak",
            "noon",
            "civic",
            "madam",
            _word(rng, fillers),
            _word(rng, fillers),
        )
    )
    code = f"{word!r} == {word!r}[::-1]"
    return Task({"w": word}, code, ("Yes.|No.", "Yes, it is.|No, it isn't."))


def _primes(rng: Random, _fillers: Fillers) -> Task:
    n = rng.randint(10, 60)
    code = f"[n for n in range(2, {n + 1}) if all(n % d for d in range(2, n))]"
    return Task({"n": n}, code, ("{v}", "The primes up to {n} are {v}"))


def _is_prime(rng: Random, _fillers: Fillers) -> Task:
    n = rng.randint(2, 999)
    code = f"all({n} % d for d in range(2, {n}))"
    return Task({"n": n}, code, ("Yes, {n} is prime.|No, {n} is not prime.", "Yes.|No."))


def _fibonacci(rng: Random, _fillers: Fillers) -> Task:
    n = rng.randint(4, 15)
    code = f"f = [0, 1]\nwhile len(f) < {n}:\n    f.append(f[-1] + f[-2])\nf"
    return Task({"n": n}, code, ("{v}", "The first {n} are {v}"))


def _divisors(rng: Random, _fillers: Fillers) -> Task:
    n = integer(rng, 400, 6)
    code = f"[d for d in range(1, {n + 1}) if {n} % d == 0]"
    return Task({"n": n}, code, ("{v}", "They are {v}", "{n} can be divided by {v}"))


def _series(rng: Random, _fillers: Fillers) -> Task:
    n = rng.choice((10, 20, 50, 100, 500, 1000, rng.randint(5, 300)))
    return Task({"n": n}, f"sum(range(1, {n + 1}))")


def _squares(rng: Random, _fillers: Fillers) -> Task:
    n = rng.randint(4, 12)
    return Task({"n": n}, f"[n**2 for n in range(1, {n + 1})]", ("{v}", "Here they are: {v}"))


def _table(rng: Random, _fillers: Fillers) -> Task:
    n = rng.randint(2, 25)
    return Task({"n": n}, f"[{n} * k for k in range(1, 11)]", ("{v}", "Here it is: {v}"))


def _binary(rng: Random, _fillers: Fillers) -> Task:
    n = integer(rng, 1000)
    return Task({"n": n}, f"bin({n})", ("{v}", "{n} is {v} in binary."))


def _hexadecimal(rng: Random, _fillers: Fillers) -> Task:
    n = integer(rng, 100_000)
    return Task({"n": n}, f"hex({n})", ("{v}", "{n} is {v} in hexadecimal."))


def _from_binary(rng: Random, _fillers: Fillers) -> Task:
    b = f"{rng.randint(2, 255):b}"
    return Task({"n": b}, f"int('{b}', 2)", ("{v}", "{n} is {v}."))


def _digits(rng: Random, _fillers: Fillers) -> Task:
    n = rng.randint(100, 10**9)
    return Task({"n": n}, f"sum(int(d) for d in '{n}')", ("{v}", "The digits add up to {v}."))


def _evens(rng: Random, _fillers: Fillers) -> Task:
    found = _some(rng, 4, 7)
    return Task(
        {"l": _listed(list(found))},
        f"[n for n in {found} if n % 2 == 0]",
        ("{v}", "The even ones: {v}"),
    )


def _unique(rng: Random, _fillers: Fillers) -> Task:
    found = [rng.randint(1, 9) for _ in range(rng.randint(5, 9))]
    return Task(
        {"l": _listed(list(found))}, f"sorted(set({found}))", ("{v}", "Without repeats: {v}")
    )


def _joined(rng: Random, _fillers: Fillers) -> Task:
    found = _some(rng)
    return Task({"l": _listed(list(found))}, f"sum({found})")


def _program(rng: Random, fillers: Fillers) -> Task:
    a, b = integer(rng, 100), integer(rng, 100)
    code = rng.choice(
        (
            f"print({a} + {b})",
            f"{a} ** 2 + {b}",
            f"[{a}, {b}] * 2",
            f"max({a}, {b})",
            f"sum([{a}, {b}, {a}])",
            f"len({_word(rng, fillers)!r})",
            f"list(range({rng.randint(3, 9)}))",
        )
    )
    return Task({"p": code}, code, ("{v}", "It gives {v}", "Output: {v}"))


Maker = Callable[[Random, Fillers], Task]


def asked(make: Maker) -> Callable[..., Turn]:
    """A turn of the task."""

    def write(rng: Random, fillers: Fillers, pattern: str) -> Turn:
        task = make(rng, fillers)
        answer = rng.choice(task.answers)

        def reply(results: Results) -> str:
            text, _, otherwise = answer.partition("|")
            shown = otherwise if results[0] == "false" and otherwise else text
            value = results[0].replace('"', "") if results[0].startswith("[") else results[0]
            return shown.format(v=value.strip("[]") or "none", **task.values)

        return Turn(say(rng, pattern, **task.values), reply, (Call("exec", {"code": task.code}),))

    return write


def plain(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """A question about programs: no tool is needed."""
    text, _, answers = pattern.partition(" => ")
    return Turn(say(rng, text), rng.choice(answers.split(" / ")))


TASKS: dict[str, tuple[Maker, list[str]]] = {
    "sort": (
        _ordered,
        [
            "sort {l}",
            "sort these( numbers): {l}",
            "[put|arrange] {l} in (ascending )order",
            "[can|could] you sort {l}( for me)?",
            "{l} sorted( please)",
            "order these from smallest to largest: {l}",
            "python: sort {l}",
        ],
    ),
    "descending": (
        _descending,
        [
            "sort {l} [from largest to smallest|in descending order|descending]",
            "[put|arrange] these from [biggest to smallest|high to low]: {l}",
            "reverse sort {l}",
            "largest first: {l}",
        ],
    ),
    "alphabet": (
        _alphabet,
        [
            "sort {l} alphabetically",
            "[put|arrange] these [words|names] in alphabetical order: {l}",
            "alphabetize {l}",
            "[can|could] you put {l} in alphabetical order?",
        ],
    ),
    "letters": (
        _letters,
        [
            "how many {c}'s are in {w}?",
            "how many {c}'s are there in the word {w}?",
            "how many times does {c} [appear|occur|come up] in {w}?",
            "count the letter {c} in {w}",
            "[count|number of] {c}'s in {w}",
            'how many letters "{c}" does "{w}" have?',
            "how often is the letter {c} in {w}?",
            "[tell me|do you know] how many {c}'s {w} has",
        ],
    ),
    "backwards": (
        _backwards,
        [
            "reverse {w}",
            "what is {w} [backwards|reversed|spelled backwards]?",
            "[write|say|spell] {w} backwards",
            "[can|could] you reverse the word {w}?",
            "{w} backwards",
            "turn {w} around",
        ],
    ),
    "length": (
        _length,
        [
            "how many letters [are in|does|has] {w}?",
            "how long is the word {w}?",
            "length of {w}",
            "count the [letters|characters] in {w}",
            "number of [letters|characters] in {w}",
        ],
    ),
    "words": (
        _words,
        [
            'how many words are in "{w}"?',
            "count the words: {w}",
            'word count of "{w}"',
            "number of words in: {w}",
        ],
    ),
    "vowels": (
        _vowels,
        [
            "how many vowels [are in|does] {w}( have)?",
            "count the vowels in {w}",
            "number of vowels in {w}",
        ],
    ),
    "capitals": (
        _capitals,
        [
            "[write|put] {w} in [capitals|uppercase|capital letters]",
            "{w} in [all caps|uppercase]",
            "uppercase {w}",
            "capitalize all of {w}",
        ],
    ),
    "palindrome": (
        _palindrome,
        [
            "is {w} a palindrome?",
            "does {w} read the same backwards?",
            "check if {w} is a palindrome",
            "{w}: palindrome or not?",
        ],
    ),
    "primes": (
        _primes,
        [
            "[list|show|give me|find] [the|all] primes up to {n}",
            "what are the prime numbers (up )to {n}?",
            "[all|the] prime numbers below or equal to {n}",
            "primes to {n}",
            "[use|with] python( to) list the primes up to {n}",
        ],
    ),
    "is-prime": (
        _is_prime,
        [
            "is {n} (a )prime( number)?",
            "check [if|whether] {n} is prime",
            "{n} prime?",
            "prime or not: {n}",
            "[can|could] you tell me if {n} is a prime?",
        ],
    ),
    "fibonacci": (
        _fibonacci,
        [
            "(give me )the first {n} fibonacci numbers",
            "fibonacci up to {n} [terms|numbers]",
            "[show|list|write|print] {n} fibonacci numbers",
            "[use|in] python( to) make the first {n} fibonacci numbers",
            "the fibonacci sequence, {n} numbers",
        ],
    ),
    "divisors": (
        _divisors,
        [
            "[what are|list|find] the [divisors|factors] of {n}",
            "what numbers [divide|go into] {n}?",
            "[divisors|factors] of {n}",
            "what can {n} be divided by?",
        ],
    ),
    "series": (
        _series,
        [
            "(what is )the sum of [all|the] numbers from 1 to {n}",
            "add (up )[all the|every] numbers from 1 to {n}",
            "sum 1 to {n}",
            "1 + 2 + 3 + ... + {n}",
        ],
    ),
    "squares": (
        _squares,
        [
            "the first {n} square numbers",
            "list the squares from 1 to {n}",
            "[give me|print] the squares up to {n} squared",
        ],
    ),
    "table": (
        _table,
        [
            "[show|give me|print] the {n} times table",
            "{n} times table",
            "multiplication table of {n}",
            "multiples of {n}",
        ],
    ),
    "binary": (
        _binary,
        [
            "[what is|what's] {n} in binary",
            "convert {n} to binary",
            "{n} in binary",
            "binary of {n}",
            "[write|show] {n} as a binary number",
        ],
    ),
    "hex": (
        _hexadecimal,
        [
            "[what is|what's] {n} in hex?",
            "convert {n} to hex(adecimal)",
            "{n} in hexadecimal",
            "hex of {n}",
        ],
    ),
    "from-binary": (
        _from_binary,
        [
            "what number is {n} in binary?",
            "convert binary {n} to decimal",
            "binary {n} [as a|in] decimal",
        ],
    ),
    "digits": (
        _digits,
        ["(what is )the sum of the digits of {n}", "add up the digits of {n}", "digit sum of {n}"],
    ),
    "evens": (
        _evens,
        [
            "[which|what] of these are even: {l}",
            "[find|show|keep] the even numbers in {l}",
            "filter the even numbers: {l}",
        ],
    ),
    "unique": (
        _unique,
        [
            "remove (the )[duplicates|repeats] from {l}",
            "unique numbers in {l}",
            "which different numbers are in {l}?",
            "dedupe {l}",
        ],
    ),
    "sum": (
        _joined,
        [
            "[use|with] python( to) [sum|add up] {l}",
            "write (a bit of )python to add {l}",
            "python: sum of {l}",
            "run code to add up {l}",
        ],
    ),
    "program": (
        _program,
        [
            "run {p}",
            "[run|execute|evaluate] this( code| python): {p}",
            "what does {p} [return|give|print|evaluate to]?",
            "python: {p}",
            "[can|could] you run {p}?",
            "what's the [output|result] of {p}?",
            "{p} in python",
            "execute {p}",
        ],
    ),
}
PLAIN = [
    "[do you know|can you run] python? => Yes, I can run short programs. What should it do?",
    "what is python? => Python is a programming language. I can run small programs in it. / It's a programming language that I can run for you.",
    "what is a variable? => A name for a value in a program.",
    "what is a (for )loop? => A part of a program that is repeated.",
    "run [a|my|some] [code|program] => Which code should I run?",
    "write (me )a program => What should it do?",
    "what's a palindrome? => A word that reads the same backwards, like level.",
    "what is the fibonacci sequence? => Each number is the sum of the two before it: 0, 1, 1, 2, 3, 5.",
    "[sort|order] [these|them|my list] => Which ones? Tell me the list.",
    "[reverse|spell] it => Which word?",
]

TEMPLATES = [
    template
    for name, (make, patterns) in TASKS.items()
    for template in templates(f"python/{name}", asked(make), patterns)
] + templates("python/plain", plain, PLAIN)
