"""What a request wants noted, done or undone: the end of what was said, and the list it is for.

"Add bolivian coriander to my hardware store list, please" speaks of a list, and what is to be put
there ends where the list is named. A small model sees where such a text begins, and stops too
early; so only ends are offered: of a sentence, or of what stands before the list or the time.
"""

import re
from collections.abc import Iterator, Sequence

__all__ = ["lists", "statements"]

MOST = 80  # statements that are offered
BEFORE, THIS = "to|on|onto|into|in|from|off|off of|for", "my|the|our|a|an|this|that"
NAME = rf"(?!(?:{BEFORE}|{THIS})\b)[\w'-]+"
LIST = re.compile(
    rf"\b(?:(?:{BEFORE}) )?(?:{THIS}) (?:((?:{NAME} ){{0,2}}{NAME}) )?lists?\b",
    re.IGNORECASE,
)
TODO = re.compile(r"(?:to[- ]?dos?|tasks?|things?(?: to do)?)", re.IGNORECASE)
SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n")
TAIL = re.compile(
    r"(?:[\s,.!?;:]|\b(?:please|pls|plz|thanks|thank you|ok|okay|cabin|then|too|as well|also)\b|"
    r"\b(?:and )?(?:put|add|note|write|remember|keep|save|forget|delete|remove|take) "
    r"(?:it|that|this|them)(?: (?:down|for me|in mind))?\b|"
    r"\b(?:for|at|on|in|by|to|from|off|the|my|a|an|and|or|of)\b)+$",
    re.IGNORECASE,
)
# Words that a statement follows; before others it would begin in its own middle.
LEADS = frozenset(
    "about add again alarm also and bought buy called cancel check clear complete completed "
    "cross delete did do done don't down drop erase finish finished for forget forgot get got "
    "grab have i i've include insert jot just keep know log make mark me memo need no not "
    "note now of off out pick please put remember remind reminder remove save say scrap set "
    "so store strike stop take tell that this tick timer to wake want was write you".split()
)
ARTICLES = frozenset("a an the my our".split())  # led themselves, they lead on
LOOSE = re.compile(r"(?:to|and|or|of|that|is|are|from)\b", re.IGNORECASE)  # begins nothing
WORD = re.compile(r"\S+")
EDGES = "\"'`,;:!?. "


def lists(texts: Sequence[str]) -> list[str]:
    """The names of lists that are said: `hardware store` of "to my hardware store list"."""
    names = [found for text in texts for match in LIST.finditer(text) if (found := match[1])]
    return list(dict.fromkeys(name for name in names if not TODO.fullmatch(name)))


def statements(texts: Sequence[str], apart: Sequence[str] = ()) -> list[str]:
    """What may be meant by the texts, the newest first: each end of each of their parts.

    Parts end at lists, at the times `apart` and with sentences; words of courtesy, prepositions and
    articles at their ends are left out.
    """
    found: dict[str, None] = {}
    for text in reversed(texts):
        for part in _parts(text, apart):
            begins = True
            for word in WORD.finditer(part):
                end = part[word.start() :].strip(EDGES)
                if end and begins and not LOOSE.match(end):
                    found[end] = None
                plain = word[0].lower().replace("\u2019", "'").strip(EDGES)
                begins = plain in LEADS or word[0][-1] in ",:" or (begins and plain in ARTICLES)
    return list(found)[:MOST]


def _parts(text: str, apart: Sequence[str]) -> Iterator[str]:
    for sentence in SENTENCE.split(text):
        pieces = LIST.split(sentence)[::2]  # every second is the name of a list
        for time in apart:
            pieces = [part for piece in pieces for part in piece.split(time)]
        for piece in pieces:
            part = TAIL.sub("", piece).strip()
            if part:
                yield part
