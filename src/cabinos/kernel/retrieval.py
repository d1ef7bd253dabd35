"""Which few of many tools a request is about: words that both have in common, weighed by BM25.

    score(tool) = Σ idf(w) · f(w) · (k + 1) / (f(w) + k · (1 - b + b · length / mean length))

over the words w of the request, where f(w) is how often the tool's name, hints and description say
w, and idf(w) = ln(1 + (N - n(w) + 0.5) / (n(w) + 0.5)) for a word of n(w) of the N tools
(Robertson & Zaragoza 2009). What is not a word speaks too: "12*3" and "percent" are both <arith>,
"5 km" and "pounds" <quantity>, "friday" and "9:30" <time>, in a request as in what a tool says.
What only requests look like, <asks> or <or>, a tool names among its hints.

It is a pure function of its arguments, so replays and forks show what was shown before, and a
model's training shows what its use will.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from cabinos.kernel.driver import Message, Tool

__all__ = ["ESCALATE", "select", "shown"]

ESCALATE = "escalate"  # the syscall that is always on offer
# Never chosen: to manage processes, pages and skills takes more of a plan than small brains have.
LEFT_OUT = frozenset(
    (ESCALATE, "spawn", "wait", "sleep", "recall", "ask")
    + ("skill_search", "skill_read", "skill_run", "knowledge_get")
)

K, B = 1.2, 0.3  # how fast repetition stops to count; how much a long description is held against
NAME, HINTS = 2, 2  # weights of words in a name and in hints; a description's count once
# Tools without hints, an MCP server's, say little of what they are for. Where they are few, whoever
# added them wants them seen: as if they had one rare word in common with every request.
OWN = 3.0
ANSWERS = {"files_passages": 0.01}  # a granted document may say anything: takes a free place
LONGEST = 1000  # characters at each end of a request, and of a description, that are looked at

STOP = frozenset(
    "a about again all also am an and any are as at be been but by can could d did do does for "
    "from get give go had has have hello her hey hi him his how i if in into is it its just know "
    "let like ll m many may me much my need no not now of ok on one or our out own please re s "
    "said shall she should so some t tell than thank thanks that the their them then there these "
    "they thing this those to too up us use very want was we were what when where which who will "
    "with would yes you your".split()
)

_UNITS = (
    "millimet(?:er|re)s?|centimet(?:er|re)s?|met(?:er|re)s?|kilomet(?:er|re)s?|miles?|inch(?:es)?|"
    "feet|foot|yards?|mm|cm|km|kms|ft|lit(?:er|re)s?|millilit(?:er|re)s?|ml|gallons?|pints?|quarts?|"
    "cups?|tablespoons?|teaspoons?|tbsp|tsp|(?:fluid )?ounces?|oz|lbs?|pounds?|stones?|grams?|"
    "kilograms?|kilos?|kgs?|mg|yds?|qts?|pts?|tons?|tonnes?|acres?|hectares?|celsius|fahrenheit|kelvin|degrees?|"
    "mph|kmh|km/h|knots?|(?:kilo|mega|giga|tera)?bytes?|kb|mb|gb|tb|mib|gib|bits?"
)
_NUMBER = (
    "zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    "sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|"
    "hundred|thousand|million"
)
_SPANS = "seconds?|minutes?|mins?|hours?|days?|weeks?|months?|years?|decades?"
SHAPES = {
    "<arith>": re.compile(
        r"\d\s*[-+*/^×÷−]\s*[\d(]|\d\s*x\s*\d|\d\s*%|[=√]|"
        r"\b(?:plus|minus|times|multipl\w+|divi\w+|subtract\w*|percent\w*|squared?|cubed|"
        r"power|roots?|sum|product|arithmetic|halve|double|triple|factorial|modulo|remainder)\b|"
        rf"\b(?:half|third|quarter|fifth|tenth) of\b|(?:\d|\b(?:{_NUMBER})) (?:and|over|by|off) \d"
    ),
    "<quantity>": re.compile(
        rf"(?:\d\s*|\b)(?:{_UNITS})\b|\d\s*[°'\"]|\d\s*(?:m|g|l|c|f|k|kg|lb)\b|\bquantity\b"
    ),
    "<time>": re.compile(
        r"\b(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:days?)?\b|\d\s*[ap]\.?m\b|"
        r"\b\d{1,2}:\d\d\b|\b\d{4}-\d\d?-\d\d?\b|\b\d{1,2}[/.]\d{1,2}[/.]\d{2,4}\b|"
        r"\b(?:today|tonight|tomorrow|yesterday|noon|midnight|o'?clock|dates?|weekdays?|"
        r"christmas|easter|new year|birthday|week|weekend|month|year)\b|\b\d+(?:st|nd|rd|th)\b|"
        r"\b(?:jan(?:uary)?|feb(?:ruary)?|march|april|june|july|aug(?:ust)?|sept?(?:ember)?|"
        r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b|\bmay \d"
    ),
    "<duration>": re.compile(rf"(?:\b|\d)(?:{_SPANS})\b"),
    "<later>": re.compile(
        rf"\bin (?:\d+|an?|{_NUMBER}) (?:second|minute|hour|day|week|month|year)|"
        r"\b(?:second|minute|hour|day|week|month|year)s? (?:ago|from|after|before|later)\b"
    ),
    "<file>": re.compile(
        r"\b[\w-]+\.(?:txt|md|pdf|docx?|csv|json|html?|py|log|toml|ya?ml)\b|\w/\w+\.|"
        r"\b(?:files?|folders?|documents?)\b"
    ),
    "<address>": re.compile(r"https?://|\bwww\.|\b[\w-]+\.(?:com|org|net|io|dev|edu|gov)\b"),
    "<mine>": re.compile(
        r"\b(?:what|where|who|when|which)(?:'s| is| are| was| were| did)? (?:my|our|i)\b|"
        r"\b(?:told|tell) you\b"
    ),
    "<duty>": re.compile(r"\b(?:have|need|got|want|ought) to\b|\bto[- ]?dos?\b|\btasks?\b"),
}
# What only people say: a tool that is meant by it has the name among its hints.
SAID = {
    "<number>": re.compile(rf"\d|\b(?:{_NUMBER})\b"),
    "<asks>": re.compile(  # but for "what can you do"
        r"\b(?:who|what|when|where|which|whose|how)(?:'?s)?\b"
        r"(?! (?:are |can |do |is |was )?(?:you|we)\b)"
    ),
    "<my>": re.compile(r"\b(?:my|our)\b"),
    "<states>": re.compile(
        r"\b(?:my|our|the|\w+'s) (?:[\w'-]+ ){1,4}(?:is|are|was)\b|"
        r"\b(?:note|remember|forget|know)(?: down)? (?:that|the|this|my)\b|\bnote:"
    ),
    "<or>": re.compile(r"\w,? or \w"),
    "<into>": re.compile(
        rf"\b(?:in|into|to|as|is|are|makes?) (?:an? )?(?:{_UNITS}|{_SPANS})\b|"
        rf"\bhow many (?:{_UNITS}|{_SPANS}) (?:is|are|in|make|does|do)\b|"
        rf"\b(?:{_UNITS}|{_SPANS}) (?:in|to|into|as) "
    ),
    "<named>": re.compile(r"\b[\w-]+\.[a-z]{2,4}\b"),
    "<contents>": re.compile(
        r"\b(?:what|which|any) (?:files?|documents?|docs|folders?)\b|\bwhat(?:'s| is) in my\b"
    ),
}
MARK = re.compile(r"<\w+>")
NAMED = re.compile(r"\S*\w/\w\S*|[\w-]+\.[a-z]{2,5}\b")
WORD = re.compile(r"[^\W\d_]+")


def shown(tools: Sequence[Tool], newest_first: Iterable[Message], limit: int) -> list[Tool]:
    """What a model is shown that is to be shown `limit` tools; `escalate` comes on top.

    They are for what the user said last, and if that answers a question ("When?"), for what led to
    it. What was called in this turn and the one before stays: "no, I meant Friday" is about the
    same tool.
    """
    said: list[str] = []
    called: set[str] = set()
    turns, role, asked = 0, "", False
    for message in newest_first:
        if turns == 2 and message.role != "user":
            break
        if turns == 1 and role == "user" != message.role:
            asked = message.text.rstrip().endswith("?")
        turns += message.role == "user" != role
        role = message.role
        if asked or (turns == 1 and role == "user"):
            said.insert(0, message.text)
        called.update(call.name for call in message.calls)
    if any(name.startswith("notes_") for name in called):
        called.add("notes_forget")  # a correction takes back what was noted
    pinned = [tool for tool in tools if tool.name == ESCALATE]
    others = [tool for tool in tools if tool.name not in LEFT_OUT]
    return [*select(others, "\n".join(said), limit, called), *pinned]


def select(
    tools: Sequence[Tool], text: str, limit: int, called: Collection[str] = ()
) -> list[Tool]:
    """At most `limit` tools for a request, the best first; of equals, the first by name.

    Tools with nothing in common with it are left out, but where there are no more than `limit` at
    all. Those `called` before in the conversation stay: in the place of the last ones, if need be.
    """
    ends = text if len(text) <= 2 * LONGEST else f"{text[:LONGEST]} {text[-LONGEST:]}"
    lower = ends.lower()
    words = {name for name, shape in SAID.items() if shape.search(lower)}.union(_words(lower))
    documents = [_document(tool.name, tool.hints, tool.description) for tool in tools]
    mean = sum(length for _, length in documents) / max(1, len(documents))
    scores = _priors(tools, limit) if words else [0.0] * len(tools)
    for word in sorted(words):  # sums of floats depend on their order
        holders = [(n, counts[word]) for n, (counts, _) in enumerate(documents) if word in counts]
        rarity = math.log(1 + (len(tools) - len(holders) + 0.5) / (len(holders) + 0.5))
        for n, count in holders:
            penalty = K * (1 - B + B * documents[n][1] / mean)
            scores[n] += rarity * count * (K + 1) / (count + penalty)
    order = sorted(range(len(tools)), key=lambda n: (-scores[n], tools[n].name))
    every = len(tools) <= limit
    best = [tools[n] for n in order if every or scores[n] > 0 or tools[n].name in called]
    kept = [tool for tool in best if tool.name in called][-limit:]
    first = [tool for tool in best if tool.name not in called][: limit - len(kept)]
    return [tool for tool in best if tool in first or tool in kept]


def _priors(tools: Sequence[Tool], limit: int) -> list[float]:
    """What speaks for each tool whatever is said, if anything is."""
    own = OWN if sum(not tool.hints for tool in tools) <= limit else 0.0
    return [ANSWERS.get(tool.name, 0.0) if tool.hints else own for tool in tools]


@lru_cache(4096)
def _document(name: str, hints: str, description: str) -> tuple[Counter[str], int]:
    """How often a tool says each word, and how many words it says."""
    counts: Counter[str] = Counter()
    people = MARK.sub(" ", hints)
    for part, weight in ((name.replace("_", " "), NAME), (people, HINTS), (description, 1)):
        for word in _words(part[:LONGEST].lower()):
            counts[word] += weight
    counts.update(dict.fromkeys(MARK.findall(hints), HINTS))
    return counts, counts.total()


def _words(text: str) -> list[str]:
    """The stems of a text's words, and the names of the shapes in it."""
    text = text.replace("’", "'")
    found = [name for name, shape in SHAPES.items() if shape.search(text)]
    text = NAMED.sub(" ", text)  # the words in a file's name say nothing of what is wanted
    return found + [_stem(word) for word in WORD.findall(text) if word not in STOP]


def _stem(word: str) -> str:
    """Without the endings of English inflection: "converting", "converts", "convert" are one."""
    for ending in ("ing", "ed", "ies", "es", "s", "er", "ly"):
        stem = word.removesuffix(ending)
        if len(stem) < len(word) and len(stem) >= 3 and not (ending == "s" and stem[-1] in "su"):
            word = stem + "y" * (ending == "ies")
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word[-1] == "e" else word
