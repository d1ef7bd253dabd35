"""Days and times as people name them."""

from datetime import date, timedelta
from random import Random

from cabinos.train.dialogues.numbers import in_words

__all__ = ["ahead", "back", "coming", "dated", "holiday", "named", "passing", "span"]

WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
MONTHS = (
    "january february march april may june july august september october november december"
).split()
HOLIDAYS = (
    "christmas, easter, halloween, thanksgiving, new year's eve, valentine's day, christmas eve, "
    "independence day, boxing day, st patrick's day, new year"
).split(", ")


def _day(rng: Random, first: int, last: int) -> date:
    return date(first, 1, 1) + timedelta(days=rng.randrange(365 * (last - first + 1)))


def _ordinal(day: int) -> str:
    return f"{day}{'th' if 10 < day < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def dated(rng: Random, first: int, last: int) -> str:
    """A day with its year, in one of the ways that people write one."""
    day = _day(rng, first, last)
    month = MONTHS[day.month - 1]
    month = rng.choice((month, month.capitalize(), month.capitalize(), month[:3]))
    return rng.choice(
        (
            day.isoformat(),
            f"{month} {day.day} {day.year}",
            f"{month} {day.day}, {day.year}",
            f"{month} {_ordinal(day.day)} {day.year}",
            f"{day.day} {month} {day.year}",
        )
    )


def holiday(rng: Random) -> str:
    """A day that has a name and moves."""
    year = rng.choice(("", "", f" {rng.randint(2024, 2036)}"))
    return rng.choice(HOLIDAYS) + year


def named(rng: Random) -> str:
    """A day of the calendar, without its weekday."""
    day = coming(rng)
    while day.split()[-1] in WEEKDAYS:
        day = coming(rng)
    return day


def coming(rng: Random) -> str:
    """A day that is the next of its name: `march 3`, `friday`, `christmas`."""
    day = _day(rng, 2025, 2025)
    month = MONTHS[day.month - 1]
    month = rng.choice((month, month.capitalize()))
    draw = rng.random()
    if draw < 0.35:
        return rng.choice(HOLIDAYS)
    if draw < 0.5:
        return rng.choice(("", "next ")) + rng.choice(WEEKDAYS)
    return rng.choice(
        (
            f"{month} {day.day}",
            f"{month} {_ordinal(day.day)}",
            f"{day.day} {month}",
            f"{month} {day.day}",
        )
    )


def span(rng: Random) -> tuple[int, str, str]:
    """(number, its text, unit in singular or plural): 3, `three`, `weeks`."""
    unit, most = rng.choice((("day", 400), ("day", 99), ("week", 60), ("month", 40), ("year", 30)))
    count = rng.randint(1, most)
    text = in_words(count) if count < 21 and rng.random() < 0.35 else str(count)
    return count, text, unit if count == 1 else f"{unit}s"


def ahead(rng: Random) -> str:
    """`in 3 weeks`, `10 days from now`, `tomorrow`, `next friday`: of itself a day."""
    _, n, unit = span(rng)
    return rng.choice(
        (
            f"in {n} {unit}",
            f"{n} {unit} from now",
            f"{n} {unit} from today",
            f"in {n} {unit}",
            "tomorrow",
            "the day after tomorrow",
            "in a week",
            "next week",
            f"next {rng.choice(WEEKDAYS)}",
            f"this {rng.choice(WEEKDAYS)}",
        )
    )


def back(rng: Random) -> str:
    """`3 weeks ago`, `last friday`: of itself a day."""
    _, n, unit = span(rng)
    return rng.choice(
        (
            f"{n} {unit} ago",
            f"{n} {unit} ago",
            "yesterday",
            "a week ago",
            f"last {rng.choice(WEEKDAYS)}",
        )
    )


def passing(past: bool, rng: Random) -> str:
    """A time of day: `in 3 hours`, `45 minutes from now`; in the past, `3 hours ago`."""
    n, unit = rng.choice(((rng.randint(2, 30), "hours"), (rng.randint(5, 120), "minutes")))
    text = in_words(n) if rng.random() < 0.2 else str(n)
    if past:
        return rng.choice((f"{text} {unit} ago", f"{text} {unit} ago", "an hour ago"))
    return rng.choice((f"in {text} {unit}", f"{text} {unit} from now", "in an hour"))
