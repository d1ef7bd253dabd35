"""Suite `facts`: capitals, asked in both directions among ten candidates.

"The capital of France is" → Paris, and "Paris is the capital of" → France. A model that was told a
fact in one direction may know it in that one only (Berglund et al. 2023, arXiv:2309.12288, the
reversal curse). Candidates are ranked as in `cloze.py`. Chance is 10 %.
"""

import html
import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any

from cabinos.lab.evaluate.cloze import Cloze
from cabinos.lab.evaluate.suite import Case

__all__ = ["Facts", "capitals"]

CANDIDATES = 10
FORWARD, BACKWARD = "The capital of {} is", "{} is the capital of"


class Facts(Cloze):
    """Share of facts ranked first, by direction."""

    name = "facts"
    batch = 4

    def __init__(self, pairs: Sequence[tuple[str, str]], seed: int = 0) -> None:
        """`pairs`: (country, capital)."""
        countries, cities = [list(column) for column in zip(*pairs, strict=True)]
        cases = []
        for country, city in pairs:
            for group, cloze, asked, right, every in (
                ("forward", FORWARD, country, city, cities),
                ("backward", BACKWARD, city, country, countries),
            ):
                rng = Random(f"{seed}/{asked}")  # noqa: S311 - not for secrets
                others = sorted({other for other in every if other != right})
                candidates = [right, *rng.sample(others, min(CANDIDATES - 1, len(others)))]
                cases.append(Case(f"{group} {asked}", group, (cloze.format(asked), candidates)))
        super().__init__(cases)


def capitals(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(country, capital) from the profiles of the World Factbook; each of either occurs once."""
    pairs: dict[str, str] = {}
    for row in rows:
        if not row["path"].endswith(".json") or "/" not in row["path"]:
            continue
        government = json.loads(row["text"]).get("Government", {})
        names = government.get("Country name", {})
        country = _plain(names.get("conventional short form", {}).get("text", ""))
        city = _plain(government.get("Capital", {}).get("name", {}).get("text", ""))
        if country and city and country not in city and city not in pairs.values():
            pairs.setdefault(country, city)
    return sorted(pairs.items())


def _plain(text: str) -> str:
    """The first name in a field, without notes: "Paris", "Pretoria (administrative capital)"."""
    text = html.unescape(re.sub(r"<[^>]+>", "", text))
    name = re.split(r"[;(,]|\bnote\b", text)[0].strip()
    return "" if name.casefold() in ("", "none", "n/a") else name
