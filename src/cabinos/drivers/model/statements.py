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
    rf"\b(?:(?:(?:{BEFORE}) )?(?:{THIS})|{BEFORE}) (?:((?:{NAME} ){{0,2}}{NAME}) )?lists?\b|"
    rf"\b(?:{BEFORE}|out of) (?:(?:my|your|the|our) )?(?:to[- ]?dos?|tasks?|notes|memory)\b",
    re.IGNORECASE,
)
TODO = re.compile(r"(?:to[- ]?dos?|tasks?|things?(?: to do)?)", re.IGNORECASE)
QUOTED = re.compile(r"[\"\u201c]([^\"\u201c\u201d]+)[\"\u201d]")
SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n")
# Where another thing begins, or a word about the thing: "milk, then eggs", "the milk can go".
BORDER = re.compile(
    r"(?:, (?=(?:done|separately|then|not|mark|tick|check|cross|strike|take|remove|delete|forget|"
    r"add|put|keep|note|remember|remind|so)\b)| - | ?✓|: |"
    r",? \b(?:(?:and )?then|plus|also|too|as well|separately|anymore|after all|not|"
    r"and (?=remind|ping|set|note|also|make|put|add|save)|as (?=two|done|complete|finished)|"
    r"(?:is|are) (?=off|done|finished|complete|taken|bought|out)|can (?=go|be)|out of|off|in mind|"
    r"shouldn?'?t?|isn't|goes|so does)\b)",
    re.IGNORECASE,
)
TAIL = re.compile(
    r"(?:[\s,.!?;:]|\b(?:please|pls|plz|thanks|thank you|ok|okay|cabin|then|too|as well|also)\b|"
    r"\b(?:and )?(?:put|add|note|write|remember|keep|save|forget|delete|remove|take) "
    r"(?:it|that|this|them)(?: (?:down|for me|in mind))?\b|"
    r"\b(?:for me|if (?:possible|you can)|asap|right away|real quick|when you can|will you)\b|"
    r"\b(?:thx|now|kindly|instead|rather|down)\b|"
    r"\b(?:for|at|on|in|into|by|to|as|from|off|the|my|a|an|new|and|or|of)\b|"
    r"\b(?:file|called|named)\b)+$",
    re.IGNORECASE,
)
# Words that a statement follows; before others it would begin in its own middle.
LEADS = frozenset(
    "about actually add again alarm also and begin bought buy called cancel check clear "
    "complete completed contain containing create cross delete did do don't done down drop "
    "erase finish finished first for forget forgot fyi get got grab have hello hey hi hmm i "
    "i'll i've include insert jot just keep know like listen log lose make mark me mean meant "
    "memo mind more must need needs new no not note now number of off ok on out pick place "
    "please plus pop put rather remember remind reminder remove right run save say saying "
    "says scrap set should so start stick stop store strike take tell text that then this "
    "throw tick timer to um unlearn use wake want was way will wipe with write yo you".split()
)
# Of them, those that may come before what is asked: a comma after them begins.
OPENERS = frozenset(
    "actually and for fyi hello hey hi hmm i like listen no not of ok please right this um way "
    "yo".split()
)
# What only asks: no statement begins with it.
ASKS = (
    "add|also|cancel|cross|delete|don't|erase|give|i (?:meant?|must|need|have to|want|should)|"
    "include|insert|jot|make|meant?|must|need|note|please|put|remember|remind|reminder(?=:)|remove|scrap|"
    "set|start|strike|tick|to-?do(?=:)"
)
ARTICLES = frozenset("a an the my our".split())  # led themselves, they lead on
LOOSE = re.compile(rf"(?:(?:to|and|or|of|that|is|are|from|{ASKS})\b)", re.IGNORECASE)
WORD = re.compile(r"\S+")
EDGES = "\"'`,;:!?. "


def lists(texts: Sequence[str]) -> list[str]:
    """The names of lists that are said: `hardware store` of "to my hardware store list"."""
    names = [found for text in texts for match in LIST.finditer(text) if (found := match[1])]
    return list(dict.fromkeys(name for name in names if not TODO.fullmatch(name)))


def statements(texts: Sequence[str], apart: Sequence[str] = ()) -> list[str]:
    """What may be meant by the texts, the newest first: each end of each of their parts.

    Parts end at lists, at the times or files `apart`, with sentences and at BORDERs; words of
    courtesy, prepositions and articles at their ends are left out. What is in quotes is one, too.
    """
    found: dict[str, None] = {}
    for text in reversed(texts):
        found |= dict.fromkeys(part.strip(EDGES) for part in QUOTED.findall(text))
        for part in _parts(text, apart):
            begins, led, plain = True, False, ""
            for word in WORD.finditer(part):
                end = _bare(part[word.start() :])
                if end and begins and (plain == "to" or not LOOSE.match(end)):
                    found[end] = None  # after "to" a task may begin with any verb
                plain = word[0].lower().replace("\u2019", "'").strip(EDGES)
                joins = word[0][-1] == "," or plain == "and"  # one more thing, once one has begun
                begins = (
                    (plain in LEADS and not (led and joins))
                    or word[0][-1] == ":"
                    or (joins and not led)
                    or (begins and plain in ARTICLES)
                )
                led = led or (plain in LEADS and plain not in OPENERS)
    return [part for part in found if part and part not in apart][:MOST]


def _bare(text: str) -> str:
    """Without what stands around it, but with the end of a quotation that is in it."""
    bare = text.strip(EDGES)
    after = text[text.find(bare) + len(bare) :]
    return f'{bare}"' if bare.count('"') % 2 and after.startswith('"') else bare


def _parts(text: str, apart: Sequence[str]) -> Iterator[str]:
    for sentence in SENTENCE.split(text):
        pieces = LIST.split(sentence)[::2]  # every second is the name of a list, or None
        for time in apart:
            pieces = [part for piece in pieces for part in piece.split(time)]
        for piece in pieces:
            for one in dict.fromkeys((piece, *BORDER.split(piece))):
                if part := TAIL.sub("", one).strip():
                    yield part
