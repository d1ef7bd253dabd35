"""Characters that a terminal would obey, and those that a reader would not see.

The invisible ones are Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt): marks and
overrides of direction, what has no width, fillers, tags, variation selectors. Scripts and emoji
need two kinds of them, joiners and selectors, one of each behind a character that takes them. More
than that, or behind plain letters, they spell what a model reads and no person does.
"""

import json
import re

__all__ = ["clean", "visible"]

# C0 but tab and newline, DEL and C1; then the invisible ones without joiners and selectors;
# separators of lines and paragraphs; annotations; all of plane 14.
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
SELECTORS = "\u180b-\u180d\u180f\ufe00-\ufe0f"
JOINERS = "\u200c\u200d"
RUN = re.compile(f"(^|[^{SELECTORS}{JOINERS}])([{SELECTORS}{JOINERS}]+)")
WANTED = re.compile(f"[{SELECTORS}]?[{JOINERS}]?")  # of a run, behind what takes them
TAKES = re.compile(r"[0-9#*©®]|[^\x00-\xff\s]")  # keycaps and signs; what is no Latin-1


def clean(text: str) -> str:
    """The text without what a terminal would obey and without hidden characters."""
    return RUN.sub(lambda found: found[1] + _kept(found), UNSAFE.sub("", text))


def visible(text: str) -> str:
    r"""The text with such characters written out, as \u202e: what a person is to judge."""
    written = UNSAFE.sub(lambda found: _escaped(found[0]), text)
    return RUN.sub(lambda found: found[1] + _spelt(found), written)


def _kept(found: "re.Match[str]") -> str:
    """What stays of a run of joiners and selectors."""
    wanted = WANTED.match(found[2]) if TAKES.match(found[1]) else None
    return wanted[0] if wanted is not None else ""


def _spelt(found: "re.Match[str]") -> str:
    kept = _kept(found)
    return kept + "".join(map(_escaped, found[2][len(kept) :]))


def _escaped(character: str) -> str:
    """The character as JSON escapes it, in one or two halves."""
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
