"""What conversations are about: names, foods, cities, things to do. From the manifest's sources.

Without a data folder there are short lists built in, so that tests need no download. Of every list
one tenth is held out: training never sees those words in a dialogue.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from cabinos.train.errors import CorpusError

__all__ = ["Fillers"]

HELD_OUT = 10  # one in so many
LONGEST = 24  # characters of a filler: rows are short
LONGEST_REQUEST = 70
PLAIN = re.compile(r"[A-Za-z][A-Za-z' -]+")

# kind: (files of `corpora` below data/, words of our own).
LISTS: dict[str, tuple[tuple[str, ...], str]] = {
    "food": (
        (
            "foods/fruits",
            "foods/vegetables",
            "foods/breads_and_pastries",
            "foods/pizzaToppings",
            "foods/condiments",
            "foods/herbs_n_spices",
        ),
        (
            "pizza, pasta, sushi, tacos, salad, soup, curry, ramen, burgers, milk, eggs, bread, "
            "butter, cheese, apples, bananas, rice, chicken, coffee, tea, sugar, flour, onions, "
            "tomatoes, potatoes, yogurt, cereal, orange juice, olive oil, salt, pepper, "
            "toothpaste, toilet paper"
        ),
    ),
    "animal": (
        ("animals/common",),
        "cat, dog, horse, rabbit, tiger, owl, penguin, elephant, frog, sheep, goat, wolf, bear",
    ),
    "city": (
        ("geography/us_cities:city", "geography/english_towns_cities:cities"),
        (
            "Paris, Berlin, Chicago, Boston, Rome, Madrid, Lisbon, Oslo, Denver, Seattle, Leeds, "
            "Prague"
        ),
    ),
    "country": (
        ("geography/countries",),
        "France, Brazil, Japan, Kenya, Canada, Spain, India, Norway, Chile, Egypt, Mexico, Italy",
    ),
    "surname": (
        ("humans/lastNames",),
        "Smith, Garcia, Miller, Nguyen, Patel, Kim, Novak, Rossi, Bell, Boyd, Cole",
    ),
    "thing": (
        ("objects/objects", "technology/appliances", "objects/clothing", "music/instruments"),
        "lamp, chair, phone, laptop, jacket, bike, tent, camera, backpack, kettle, guitar, mug",
    ),
    "job": (
        ("humans/occupations",),
        "teacher, nurse, plumber, baker, lawyer, pilot, farmer, actor, welder, surgeon",
    ),
    "sport": (
        ("sports/sports",),
        "tennis, football, swimming, chess, hockey, golf, rowing, judo, archery, karate, squash",
    ),
    "game": (
        ("games/board_games",),
        "chess, Monopoly, Scrabble, Catan, Risk, Clue, checkers, Go, Dixit, Yahtzee",
    ),
    "movie": (
        ("film-tv/popular-movies",),
        "Jaws, Alien, Up, Casablanca, Rocky, Amadeus, Gandhi, Titanic, Avatar, Argo",
    ),
    "color": (
        ("colors/crayola:color",),
        "red, blue, green, yellow, purple, orange, black, white, Fern, Gold, Blush",
    ),
    "flower": (
        ("plants/flowers",),
        "rose, tulip, lily, daisy, iris, orchid, poppy, violet, sage, aster, holly",
    ),
    "noun": (
        ("words/nouns",),
        (
            "bottle, window, river, garden, bridge, castle, engine, letter, market, mirror, "
            "pocket, banana, elephant, necessary, rhythm, mississippi, strawberry, keyboard, "
            "hello, science"
        ),
    ),
}
NAMES = (
    "Emma, Noah, Olivia, Liam, Ava, Maya, Lucas, Sara, Ben, Anna, Tom, Julia, Sam, Nina, Leo, "
    "Kate, Omar, Priya, Wei, Carlos, Ingrid, Tariq, Yuki, Elena, Marco, Fatima, Jonas, Chloe, "
    "David, Ruth"
)

# Of each intent of SNIPS, which people wrote: three of our own.
REQUESTS = {
    "GetWeather": ("will it rain in Rome", "weather in Oslo at noon", "is it cold in Leeds"),
    "PlayMusic": ("play some jazz", "play the newest song by Abba", "i want to hear the blues"),
    "BookRestaurant": ("book a diner for two", "a table for 4 in Rome", "reserve a bistro at noon"),
    "AddToPlaylist": ("add this tune to my mix", "put Abba on my playlist", "add it to Rock Gems"),
    "RateBook": ("rate this novel 4 stars", "give Emma 3 points", "this saga is a 5 out of 6"),
    "SearchCreativeWork": ("find the show Lost", "look for the album Help", "find the game Go"),
    "SearchScreeningEvent": ("movie times nearby", "when is Up on", "films at the cinema tonight"),
}


SAMPLE = 5  # words of a kind that one conversation takes at most


class Fillers:
    """Lists of words by kind, of which `one` is drawn.

    `folder` is a data folder of `cabin data get`. With `held_out`, only what is never trained on;
    otherwise only what is. Raises CorpusError if a source there is damaged.
    """

    def __init__(self, folder: Path | None = None, *, held_out: bool = False) -> None:
        corpora = _corpora(folder) if folder else {}
        self._held_out = held_out
        self._own: dict[str, Sequence[str]] = {}
        self._lists: dict[str, Sequence[str]] = {}
        least = 2 if folder else SAMPLE
        for kind, (files, own) in LISTS.items():
            found = dict.fromkeys(own.split(", "))
            for file in files:
                name, _, key = file.partition(":")
                if f"data/{name}.json" in corpora:
                    found |= dict.fromkeys(_words(json.loads(corpora[f"data/{name}.json"]), key))
            self._lists[kind] = _part(list(found), held_out, least)
        names = dict.fromkeys(NAMES.split(", "))
        if folder:
            for row in _rows(folder / "sources" / "names.jsonl"):
                names |= dict.fromkeys(name.title() for name in row["text"].split()[:1500])
        self._lists["name"] = _part(list(names), held_out, least)
        for intent, ours in REQUESTS.items():
            requests = dict.fromkeys(ours) | dict.fromkeys(_requests(folder, intent))
            self._lists[intent] = _part(list(requests), held_out)

    def one(self, rng: Random, kind: str) -> str:
        """Something of a kind: name, surname, food, city, country, thing, animal, noun or other."""
        return rng.choice(self._lists[kind])

    def some(self, rng: Random, kind: str, count: int) -> list[str]:
        """`count` different ones."""
        return rng.sample(self._lists[kind], count)

    def of(self, rng: Random, words: Sequence[str]) -> str:
        """One of a family's own words, of which the same share is held out."""
        key = "\n".join(words)
        if key not in self._own:
            self._own[key] = _part(words, self._held_out)
        return rng.choice(self._own[key])


def _requests(folder: Path | None, intent: str) -> Iterator[str]:
    """What people wrote for an intent of SNIPS, where the source was fetched."""
    for row in _rows(folder / "sources" / "snips.jsonl") if folder else ():
        if row["path"].endswith(f"/train_{intent}.json"):
            for request in json.loads(row["text"])[intent]:
                text = " ".join("".join(part["text"] for part in request["data"]).split())
                if len(text) <= LONGEST_REQUEST and text.isascii():
                    yield text


def _part(words: Sequence[str], held_out: bool, least: int = 2) -> Sequence[str]:
    """The held-out tenth of a list, at least so many of it, or the rest."""
    order = sorted(words, key=lambda word: hashlib.sha256(word.lower().encode()).digest())
    count = max(least, len(order) // HELD_OUT)
    return order[:count] if held_out else order[count:]


def _corpora(folder: Path) -> dict[str, str]:
    return {row["path"]: row["text"] for row in _rows(folder / "sources" / "corpora.jsonl")}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a stored source; none if it was not fetched."""
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: damaged ({error}). Get it again: cabin data get.") from None


def _words(value: Any, key: str, under: str = "") -> Iterator[str]:
    """The short plain words of a corpora file; with `key`, only those below such a key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("description", "source", "sources", "credit"):
                yield from _words(inner, key, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner, key, under)
    elif isinstance(value, str):
        word = re.sub(r" \(\d{4}\)$", "", value)
        if len(word) <= LONGEST and PLAIN.fullmatch(word) and (not key or key == under):
            yield word
