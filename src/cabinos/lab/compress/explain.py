"""What the model knew and what surprised it: the bits that each piece of a text costs."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from cabinos.lab.compress.chunk import code
from cabinos.lab.compress.predictor import Predictor
from cabinos.lab.compress.rangecoder import Meter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Piece", "level", "page", "pieces"]

LEVELS = (1, 3, 6, 9, 13)  # bits; beyond the last a piece is of level 5
GUESSES = 3


@dataclass(frozen=True, slots=True)
class Piece:
    """One token, or several where a character is spread over them."""

    text: str  # bytes that are no text are U+FFFD
    size: int  # bytes
    bits: float
    guesses: tuple[tuple[str, float], ...]  # what the model found likeliest, and how likely


def pieces(data: bytes, predictor: Predictor, *, adapt: bool) -> list[Piece]:
    """The pieces of `data` and what each costs. `adapt`: as in packing."""
    words = predictor.speller.words
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    meter = Meter()
    found: list[Piece] = []
    text, size, guesses = "", 0, None

    def after(leaf: int, sums: "NDArray[np.int64]") -> None:
        nonlocal text, size, guesses
        guesses = guesses or _likeliest(sums, words)
        size += len(words[leaf])
        text += decoder.decode(words[leaf])
        if text and not decoder.getstate()[0]:
            found.append(Piece(text, size, meter.bits, guesses))
            meter.bits, text, size, guesses = 0.0, "", 0, None

    code(data, predictor, meter, adapt=adapt, told=lambda _: None, after=after)
    if guesses is not None:
        found.append(Piece(text + decoder.decode(b"", True), size, meter.bits, guesses))
    return found


def _likeliest(sums: "NDArray[np.int64]", words: Sequence[bytes]) -> tuple[tuple[str, float], ...]:
    import numpy as np

    odds = np.diff(sums)
    best = np.argsort(odds)[: -GUESSES - 1 : -1]
    return tuple((words[i].decode(errors="replace"), int(odds[i]) / int(sums[-1])) for i in best)


def level(bits: float) -> int:
    """How surprising that is: 0 (known beforehand) to 5."""
    return sum(bits >= limit for limit in LEVELS)


def legend() -> list[str]:
    """What the levels are, in bits."""
    ends = [*map(str, LEVELS)]
    return [f"< {ends[0]}", *(f"{a}–{b}" for a, b in pairwise(ends)), f"≥ {ends[-1]}"]


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
body {{ font: 16px/1.7 Georgia, serif; max-width: 46em; margin: 2em auto; padding: 0 1em;
  color: #222; background: #fff; }}
pre {{ font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.3em; }} p, .key {{ font-family: system-ui, sans-serif; font-size: .85em; }}
.key span {{ padding: .2em .6em; }}
.s1 {{ background: #fff6d6; }} .s2 {{ background: #ffe3a3; }} .s3 {{ background: #ffc06b; }}
.s4 {{ background: #ff9152; }} .s5 {{ background: #f0574a; color: #fff; }}
</style></head><body>
<h1>{title}</h1>
<p>{summary}</p>
<p class="key">bits: {key}</p>
<pre>{body}</pre>
</body></html>
"""


def page(found: Sequence[Piece], title: str, summary: str) -> str:
    """A page that stands by itself: text coloured by surprise, with the model's guesses on hover.

    All text is escaped, and the page may load and run nothing.
    """
    key = " ".join(f'<span class="s{n}">{escape(text)}</span>' for n, text in enumerate(legend()))
    body = "".join(map(_span, found))
    return PAGE.format(title=escape(title), summary=escape(summary), key=key, body=body)


def _span(piece: Piece) -> str:
    guesses = ", ".join(f"{_shown(text)} {share:.0%}" for text, share in piece.guesses)
    tip = escape(f"{piece.bits:.2f} bits. Guesses: {guesses}")
    return (
        f'<span class="s{level(piece.bits)}" title="{tip}">{escape(_printable(piece.text))}</span>'
    )


def _shown(text: str) -> str:
    return "“" + _printable(text).replace("\n", "⏎").replace("\t", "⇥") + "”"


def _printable(text: str) -> str:
    """Without characters that a browser would hide or obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
