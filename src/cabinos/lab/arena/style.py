"""How an answer looks: its length and its markdown, which raters prefer whatever it says.

The features and their scale are those of Chatbot Arena's style control (Li, Angelopoulos & Chiang
2024): the difference between the answers over their sum, standardised over the battles.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["STYLE", "contrast", "style_of"]

STYLE = ("length", "headings", "bold", "lists")

_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_HEADINGS = re.compile(r"^ {0,3}#{1,6}[ \t]", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_LISTS = re.compile(r"^[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]", re.MULTILINE)


def style_of(text: str) -> tuple[int, int, int, int]:
    """(characters, headings, bold spans, items of lists); what stands in code is only length."""
    prose = _CODE.sub("", text)
    return (len(text), *(len(kind.findall(prose)) for kind in (_HEADINGS, _BOLD, _LISTS)))  # type: ignore[return-value]


def contrast(
    left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """(the features [battles, F] of each battle, their names); one that never varies is left out.

    (left − right) / (left + right), 0 where both have none, over its standard deviation. It is not
    centred: two answers of the same style are a contrast of 0.
    """
    one = np.asarray(left, np.float64).reshape(-1, len(STYLE))
    other = np.asarray(right, np.float64).reshape(-1, len(STYLE))
    difference = (one - other) / np.maximum(one + other, 1)
    spread = difference.std(axis=0) if len(difference) else np.zeros(len(STYLE))
    varies = spread > 1e-9
    names = tuple(name for name, used in zip(STYLE, varies, strict=True) if used)
    return difference[:, varies] / spread[varies], names
