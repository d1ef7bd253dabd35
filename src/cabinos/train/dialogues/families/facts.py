"""What people tell and ask: facts of their lives, tasks, times, and words to fill phrases with."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from cabinos.train.dialogues.families.vocabulary import (
    AIRLINES,
    BILLS,
    CODES,
    DATED,
    DAYS,
    FAVORITES,
    GENRES,
    KEPT,
    KIN,
    LANGUAGES,
    MONTHS,
    NAMED,
    OWN,
    PEOPLE,
    PLACES,
    ROOMS,
    SECRETS,
    SIZES,
    SONGS,
    TASKS,
    WEEKDAYS,
)
from cabinos.train.dialogues.fillers import Fillers

__all__ = [
    "Fact", "a_date", "a_fact", "a_task", "a_time", "alone", "code", "span", "values", "yours",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """Something told, in the first person, and how one asks for it.

    `ask`, `embedded` and `topic` are phrases that may use {k}, the words to look for.
    """

    text: str
    key: str
    ask: str  # "[what's|what is] my {k}"
    embedded: str  # "what my {k} is"
    topic: str  # "my {k}"
    answer: str


def values(rng: Random, fillers: Fillers) -> dict[str, str]:
    """Something for every placeholder of the phrases."""
    one = fillers.one
    city, other = fillers.some(rng, "city", 2)
    made = {
        kind: one(rng, kind)
        for kind in ("name", "surname", "country", "job", "sport", "game", "movie", "flower")
    }
    made |= {kind: one(rng, kind).lower() for kind in ("food", "thing", "animal", "noun", "color")}
    made["job"], made["sport"] = made["job"].lower(), made["sport"].lower()
    made["flower"] = made["flower"].lower()
    amount = rng.choice(
        (rng.randrange(5, 100), rng.randrange(2, 50) * 10, rng.randrange(1, 20) * 500)
    )
    made |= {
        "city": city,
        "city2": other,
        "kin": fillers.of(rng, KIN),
        "room": fillers.of(rng, ROOMS),
        "language": fillers.of(rng, LANGUAGES),
        "genre": fillers.of(rng, GENRES),
        "song": fillers.of(rng, SONGS),
        "airline": fillers.of(rng, AIRLINES),
        "bill": fillers.of(rng, BILLS),
        "day": fillers.of(rng, DAYS),
        "when": a_time(rng),
        "flight": f"{rng.choice('ABDKLU')}{rng.choice('AFLX')}{rng.randrange(10, 2000)}",
        "amount": rng.choice(
            (f"${amount}", f"{amount} dollars", f"{amount} dollars", f"{amount} bucks")
        ),
        "n": str(rng.randrange(2, 12)),
    }  # fmt: skip
    return made


def a_task(rng: Random, fillers: Fillers) -> str:
    """Something to do: `pay the water bill`."""
    text = fillers.of(rng, TASKS).format_map(values(rng, fillers))
    return text if rng.random() < 0.6 else text.lower()


def a_time(rng: Random) -> str:
    """A time to come, as written, that is never in the past."""
    hour, half = rng.randrange(1, 13), rng.choice(("am", "pm", " pm", " am"))
    clock = rng.choice((f"{hour}{half}", f"{hour}:{rng.choice(('15', '30', '45', '05'))}{half}"))
    weekday, month = rng.choice(WEEKDAYS), rng.choice(MONTHS)
    weekday = rng.choice((weekday, weekday.title()))
    n = rng.choice((2, 3, 5, 10, 15, 20, 25, 30, 45, 90))
    return rng.choice(
        (
            f"at {clock}", f"tomorrow at {clock}", f"at {clock} tomorrow", "tomorrow", "next week",
            f"in {n} minutes", f"in {n} minutes", f"in {rng.randrange(2, 12)} hours", "in an hour",
            "in half an hour", f"in {rng.randrange(2, 20)} days", f"in {rng.randrange(2, 6)} weeks",
            f"on {weekday}", f"next {weekday}", f"on {weekday} at {clock}", "tomorrow morning",
            f"{weekday} at {clock}", "tomorrow evening", "tomorrow night", f"tomorrow {clock}",
            "at noon tomorrow", f"on {month} {rng.randrange(1, 29)}", f"{weekday} morning",
        )
    )  # fmt: skip


def a_date(rng: Random) -> str:
    """A day of the year."""
    day, month = rng.randrange(1, 29), rng.choice(MONTHS)
    ending = "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return rng.choice(
        (
            f"{month} {day}",
            f"{month} {day}{ending}",
            f"{day} {month}",
            f"the {day}{ending} of {month}",
        )
    )


def code(rng: Random) -> str:
    """A number, or letters and a number."""
    digits = "".join(rng.choices("0123456789", k=rng.randint(2, 6)))
    letters = "".join(rng.choices("ABCDEFGHKLMNPRSTUVWXZ", k=2))
    return rng.choice((digits, digits, digits, f"{letters}{digits}", f"{letters[0]}-{digits}"))


WHAT = ("[what's|what is|whats] my {k}", "what my {k} is", "my {k}")


def a_fact(rng: Random, fillers: Fillers) -> Fact:
    """Any fact."""
    return rng.choices((_mine, _placed, _of_people, _dated), (5, 2, 3, 2))[0](rng, fillers)


def _mine(rng: Random, fillers: Fillers) -> Fact:
    kind = rng.randrange(7)
    v = values(rng, fillers)
    if kind <= 1:
        key, value = fillers.of(rng, CODES), code(rng)
    elif kind == 2:
        key = fillers.of(rng, SECRETS)
        word = rng.choice((v["color"], v["animal"], v["food"]))
        value = f"{word}{rng.choice('-_.')}{v['noun']}{rng.randrange(10, 99)}".replace(" ", "")
    elif kind == 3:
        key, value = (
            fillers.of(rng, SIZES),
            rng.choice((str(rng.randrange(5, 60)), "M", "XL", f"{rng.randrange(5, 14)}.5")),
        )
    elif kind == 4:
        key, value = fillers.of(rng, NAMED), v["name"]
    elif kind == 5:
        key, value = (
            fillers.of(rng, PEOPLE),
            rng.choice((f"{v['name']} {v['surname']}", f"Dr. {v['surname']}", v["name"])),
        )
        who = ("[who's|who is|what's the name of] my {k}", "who my {k} is", "my {k}")
        return Fact(f"my {key} is {value}", key, *who, f"Your {key} is {value}.")
    else:
        key, what = rng.choice(FAVORITES)
        value = v[what]
    return Fact(f"my {key} is {value}", key, *WHAT, f"Your {key} is {value}.")


def _placed(rng: Random, fillers: Fillers) -> Fact:
    place, owner = fillers.of(rng, PLACES), rng.choice(("the", "my"))
    if rng.random() < 0.25:
        what = rng.choice(("", "", " the car", " my bike"))
        text, key = f"i parked{what} {place}", "parked" if rng.random() < 0.5 else "park"
        ask = "where did i {k}" if key == "park" else "where [am i|have i|is the car] {k}"
        return Fact(
            text,
            key,
            ask,
            "where i {k}",
            "where i {k}",
            f"You parked{what.replace('my', 'your')} {yours(place)}.",
        )
    key = fillers.of(rng, KEPT)
    text = rng.choice(
        ("{o} {k} is {p}", "i put {o} {k} {p}", "i left {o} {k} {p}", "i keep {o} {k} {p}")
    )
    text = text.format(o=owner, k=key, p=place)
    own = yours(owner)
    verb = "are" if key.endswith("s") else "is"
    text = text.replace(" is ", f" {verb} ")
    begin = f"[where {verb}|where did i put|where did i leave|where can i find|where do i keep]"
    ask = f"{begin} {owner} {{k}}"
    return Fact(
        text,
        key,
        ask,
        f"where {owner} {{k}} {verb}",
        f"{owner} {{k}}",
        f"{own.title()} {key} {verb} {yours(place)}.",
    )


def _of_people(rng: Random, fillers: Fillers) -> Fact:
    v = values(rng, fillers)
    n, food, thing = v["name"], v["food"], v["thing"]
    if rng.random() < 0.3:
        n = "my " + fillers.of(rng, OWN)
    your = yours(n)
    your = your[0].upper() + your[1:]
    kind = rng.randrange(8)
    if kind <= 1:
        date = a_date(rng)
        key = f"{n.removeprefix('my ')}'s birthday"
        mine = "my " if n.startswith("my ") else ""
        return Fact(
            f"{n}'s birthday is {date}",
            key,
            f"[when is|when's|what date is] {mine}{{k}}",
            f"when {mine}{{k}} is",
            f"{mine}{{k}}",
            f"{your}'s birthday is {date}.",
        )
    if kind == 2:
        return Fact(
            f"{n} is allergic to {food}",
            f"{n} allergic",
            "what is {k} to",
            "what {k} to is",
            n,
            f"{your} is allergic to {food}.",
        )
    if kind == 3:
        return (
            Fact(
                f"{n} lives in {v['city']}",
                f"{n} live",
                "where does {k}",
                "where {k}s",
                f"where {n} lives",
                f"{your} lives in {v['city']}.",
            )
            if not n.startswith("my ")
            else _of_people(rng, fillers)
        )
    if kind == 4:
        return Fact(
            f"{n} likes {food}",
            f"{n} like",
            "what does {k}",
            "what {k}s",
            n,
            f"{your} likes {food}.",
        )
    if kind == 5:
        number = "".join(rng.choices("0123456789", k=7))
        number = f"{number[:3]}-{number[3:]}" if rng.random() < 0.5 else number
        key = f"{n.removeprefix('my ')}'s [phone number|number]".replace(
            "[phone number|number]", rng.choice(("phone number", "number", "phone"))
        )
        mine = "my " if n.startswith("my ") else ""
        return Fact(
            f"{n}'s {key.rpartition(chr(39) + 's ')[2]} is {number}",
            key,
            f"[what's|what is|whats] {mine}{{k}}",
            f"what {mine}{{k}} is",
            f"{mine}{{k}}",
            f"{your}'s {key.rpartition(chr(39) + 's ')[2]} is {number}.",
        )
    if kind == 6:
        x = rng.randrange(5, 400)
        return Fact(
            f"{n} owes me {x} dollars",
            f"{n} owe me",
            "how much does {k}",
            "how much {k}",
            f"what {n} owes me",
            f"{your} owes you {x} dollars.",
        )
    return Fact(
        f"i lent my {thing} to {n}",
        thing,
        "[who has|who did i lend|who's got] my {k}",
        "who has my {k}",
        "my {k}",
        f"You lent your {thing} to {yours(n)}.",
    )


def _dated(rng: Random, fillers: Fillers) -> Fact:
    v = values(rng, fillers)
    date = rng.choice(
        (
            a_date(rng),
            f"on {rng.choice(WEEKDAYS)} at {rng.randrange(1, 12)}{rng.choice(('am', 'pm'))}",
            f"on {a_date(rng)}",
        )
    )
    kind = rng.randrange(4)
    if kind == 0:
        key = fillers.of(rng, DATED)
        return Fact(
            f"my {key} is {date}",
            key,
            "[when is|when's] my {k}",
            "when my {k} is",
            "my {k}",
            f"Your {key} is {date}.",
        )
    if kind == 1:
        key = f"meeting with {v['name']}"
        return Fact(
            f"the {key} is {date}",
            key,
            "[when is|when's] [the|my] {k}",
            "when the {k} is",
            "the {k}",
            f"The {key} is {date}.",
        )
    if kind == 2:
        key = v["bill"]
        day = f"the {rng.randrange(4, 20)}th"
        return Fact(
            f"the {key} is due on {day}",
            key,
            "when is [the|my] {k} due",
            "when the {k} is due",
            "the {k}",
            f"The {key} is due on {day}.",
        )
    key = f"{v['job']}'s visit" if rng.random() < 0.3 else f"{v['sport']} practice"
    return Fact(
        f"{key} is {date}",
        key,
        "[when is|when's] {k}",
        "when {k} is",
        "{k}",
        f"{key[0].upper()}{key[1:]} is {date}.",
    )


SWAPS = {
    "my": "your",
    "i": "you",
    "me": "you",
    "i'm": "you're",
    "am": "are",
    "mine": "yours",
    "myself": "yourself",
    "our": "your",
}


def yours(text: str) -> str:
    """The user's words as told back: my locker is your locker."""
    return " ".join(SWAPS.get(word.lower(), word) for word in text.split(" "))


def span(says: str, words: str) -> str:
    """The words as they were said, to the end of the last one; empty if they were not."""
    found = re.search(rf"\b{re.escape(words)}\w*", says, re.IGNORECASE)
    return found[0] if found else ""


def alone(rng: Random, fillers: Fillers, count: int, *, among: Sequence[str] = ()) -> list[str]:
    """`count` tasks that share no word with each other, nor with those of `among`."""
    found: list[str] = []
    taken = {word for text in among for word in text.lower().split()}
    while len(found) < count:
        task = a_task(rng, fillers)
        words = set(task.lower().split()) - {"the", "my", "a", "for", "to", "from"}
        if not words & taken:
            found.append(task)
            taken |= words
    return found
