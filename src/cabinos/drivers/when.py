"""Dates and times as people say them: tomorrow at 5pm, in half an hour, March 3, next Monday.

A text is a day, a time of day, or both in either order; or a length of time from now. Everything
is settled by the moment at which it is said.
"""

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction

from cabinos.drivers.numerals import read_numeral
from cabinos.drivers.spans import Span, add, exists, safely
from cabinos.kernel.errors import InvalidArguments

__all__ = ["WEEKDAYS", "parse"]

WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
MONTHS = (
    "january february march april may june july august september october november december".split()
)
WEEKDAY = {name[:n]: day for day, name in enumerate(WEEKDAYS) for n in (3, len(name))}
WEEKDAY |= {"tues": 1, "thur": 3, "thurs": 3}
MONTH = {name[:n]: month for month, name in enumerate(MONTHS, 1) for n in (3, len(name))}
MONTH |= {"sept": 9}
DAYS = {
    "today": 0,
    "tonight": 0,
    "tomorrow": 1,
    "yesterday": -1,
    "tmrw": 1,
    "day after tomorrow": 2,
    "day before yesterday": -2,
}
PERIODS = {"morning": 9, "afternoon": 15, "evening": 19, "tonight": 20, "night": 21}
NAMED_TIMES = {"noon": time(12), "midday": time(12), "midnight": time(0)}
UNITS = "year month week day hour minute second".split()
UNIT = {f"{unit}{end}": unit for unit in UNITS for end in ("", "s")}
UNIT |= {"min": "minute", "mins": "minute", "hr": "hour", "hrs": "hour", "h": "hour"}
UNIT |= {"sec": "second", "secs": "second", "fortnight": "fortnight", "weekday": "business_day"}
UNIT |= {"yr": "year", "yrs": "year", "weekdays": "business_day", "fortnights": "fortnight"}
PASSING = {"hour": 3600, "minute": 60, "second": 1}
LONG = 10**6  # of any unit: beyond, the calendar ends


def _easter(year: int) -> date:
    """By the anonymous Gregorian computus (Nature, 1876)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    weekday = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * weekday) // 451
    month, day = divmod(h + weekday - 7 * m + 114, 31)
    return date(year, month, day + 1)


def _thanksgiving(year: int) -> date:
    """The fourth Thursday of November."""
    first = date(year, 11, 1)
    return first + timedelta(days=(3 - first.weekday()) % 7 + 21)


HOLIDAYS: dict[str, Callable[[int], date]] = {
    "new year": lambda y: date(y, 1, 1),
    "new years": lambda y: date(y, 1, 1),
    "new years day": lambda y: date(y, 1, 1),
    "valentines day": lambda y: date(y, 2, 14),
    "valentines": lambda y: date(y, 2, 14),
    "st patricks day": lambda y: date(y, 3, 17),
    "april fools day": lambda y: date(y, 4, 1),
    "easter": _easter,
    "independence day": lambda y: date(y, 7, 4),
    "halloween": lambda y: date(y, 10, 31),
    "thanksgiving": _thanksgiving,
    "christmas eve": lambda y: date(y, 12, 24),
    "christmas": lambda y: date(y, 12, 25),
    "christmas day": lambda y: date(y, 12, 25),
    "xmas": lambda y: date(y, 12, 25),
    "boxing day": lambda y: date(y, 12, 26),
    "new years eve": lambda y: date(y, 12, 31),
}
HALF_DAY = r"(?:\s*(?P<half>[ap])\.?m\b\.?)"
TIMES = (
    rf"(?:a )?(?P<past>half|quarter) (?P<side>past|to) (?P<hour>\d{{1,2}}){HALF_DAY}?",
    rf"(?P<hour>\d{{1,2}})(?::(?P<minute>\d\d)(?::(?P<second>\d\d))?)?{HALF_DAY}",
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?! ?[ap]m)(?:\s*o'?clock|h\b)?",
    r"(?P<hour>\d{1,2}) ?o'?clock",
    r"at (?P<hour>\d{1,2})(?![\d:/.-])",
    r"^(?P<hour>\d{1,2})(?= (?:to(?:morrow|night|day)|on \w+day)\b)",
    r"(?P<name>noon|midday|midnight)",
)
TIME = tuple(
    re.compile(rf"(?<![\w:.-])(?:at |by |around )*{pattern}(?![\w:])") for pattern in TIMES
)
PERIOD = re.compile(r"(?:in (?:the )?|this |at )?\b(morning|afternoon|evening|night)\b")
FIRST = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
FIRST_OF = re.compile(rf"\b({'|'.join(FIRST)}) of\b")
LIKE = (
    "write it like 2026-11-24, 2026-11-24T10:30, now, tomorrow at 5pm, next monday, march 3, "
    "in 3 weeks or 2 days ago"
)


def parse(text: str, now: datetime) -> date:
    """A date, or a time with its zone, as written. `now` settles what is relative.

    "monday" and "next monday" are the first Monday after today; "march 3" the next one; "5pm" the
    next time it is that. A time without a zone is in that of `now`. Raises InvalidArguments if it
    is nothing of what is understood, ToolError if it is outside of the years 1 to 9999.
    """
    words = " ".join(text.lower().replace("\u2019", "'").split()).rstrip("?.!, ")
    if words in ("now", "right now"):
        return now.replace(microsecond=0)
    iso = _iso(words, now)
    if iso is not None:
        return iso
    words = _plain(words)
    passed = _duration(words, now)
    if passed is not None:
        return passed
    rest, clock, known = _time_of_day(words)
    day = _day(_stripped(rest), now)
    if day is None and rest and _stripped(rest):
        day = _ahead(_stripped(rest), now)
    if (day is None and _stripped(rest)) or (day is None and clock is None):
        raise InvalidArguments(f"{text!r} is not understood; {LIKE}.")
    if clock is None:
        assert day is not None
        return day
    return safely(lambda: _joined(day, clock, known, now))


def _iso(words: str, now: datetime) -> date | None:
    try:
        if len(words) <= 10:
            return date.fromisoformat(words.upper())
        moment = datetime.fromisoformat(words.upper())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)


def _plain(words: str) -> str:
    """Without possessives and articles; numbers below a hundred as digits."""
    words = re.sub(r"(?<=[a-z])'s?(?=\s|$)|(?<=[a-z])'(?=s\b)", _possessive, words)
    words = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", words)
    words = re.sub(r"\bthe ", "", words).replace(",", " ")
    words = FIRST_OF.sub(lambda found: f"{FIRST.index(found[1]) + 1}th of", words)
    return " ".join(words.split())


def _possessive(found: re.Match[str]) -> str:
    return "s" if found[0].startswith("'s") else ""


# ---- Lengths of time -----------------------------------------------------------------------------


def _duration(words: str, now: datetime) -> date | None:
    """`in 10 minutes`, `2 days ago`, `an hour and a half`, `3 weeks from now`."""
    back = words.endswith((" ago", " before now"))
    core = re.sub(
        r"^(?:in|after|for)\s+|\s+(?:ago|from now|from today|later|before now)$", "", words
    )
    lengths = _lengths(core.split())
    if lengths is None:
        return None
    return _after(lengths, -1 if back else 1, now)


def _ahead(words: str, now: datetime) -> date | None:
    """`in 2 days`, where a time of day stood beside it."""
    found = _duration(words, now)
    return found.date() if isinstance(found, datetime) else found


def _lengths(tokens: list[str]) -> dict[str, Fraction] | None:
    """{unit: how many}; None if the words are anything else."""
    lengths: dict[str, Fraction] = {}
    at = 0
    while at < len(tokens):
        if at and tokens[at] == "and":
            at += 1
        count, at = _count(tokens, at)
        if count is None or at >= len(tokens) or tokens[at] not in UNIT:
            return None
        unit = UNIT[tokens[at]]
        at += 1
        if tokens[at : at + 3] == ["and", "a", "half"]:
            count, at = count + Fraction(1, 2), at + 3
        if unit == "fortnight":
            unit, count = "week", 2 * count
        if unit in lengths or count > LONG:
            return None
        lengths[unit] = count
    return lengths or None


def _count(tokens: list[str], at: int) -> tuple[Fraction | None, int]:
    if at < len(tokens) and (found := re.fullmatch(r"(\d+)([a-z]+)", tokens[at])):
        tokens[at : at + 1] = found.groups()  # 10min
    if tokens[at : at + 2] == ["half", "a"] or tokens[at : at + 2] == ["half", "an"]:
        return Fraction(1, 2), at + 2
    if tokens[at : at + 4] in (["a", "quarter", "of", "an"], ["quarter", "of", "an"]):
        return Fraction(1, 4), at + 4
    if tokens[at : at + 3] == ["a", "couple", "of"]:
        return Fraction(2), at + 3
    if tokens[at : at + 2] == ["a", "few"]:
        return Fraction(3), at + 2
    if at < len(tokens) and tokens[at] in ("a", "an") and tokens[at + 1 : at + 2] != ["half"]:
        if tokens[at + 1 : at + 2] and tokens[at + 1] in UNIT:
            return Fraction(1), at + 1
        at += 1
    elif tokens[at : at + 2] == ["a", "half"]:
        at += 1
    count, end = read_numeral(tokens, at)
    return (count, end) if end > at else (None, at)


def _after(lengths: dict[str, Fraction], sign: int, now: datetime) -> date | None:
    seconds = sum((count * PASSING[unit] for unit, count in lengths.items() if unit in PASSING), 0)
    whole: dict[str, int] = {}
    for unit, count in lengths.items():
        if unit in PASSING:
            continue
        if count.denominator != 1:
            smaller = {"day": ("hour", 24), "week": ("day", 7), "year": ("month", 12)}.get(unit)
            rest = (count - int(count)) * (smaller[1] if smaller else 1)
            if smaller is None or (smaller[0] != "hour" and rest.denominator != 1):
                return None
            if smaller[0] == "hour":
                seconds += rest * 3600
            else:
                whole[f"{smaller[0]}s"] = whole.get(f"{smaller[0]}s", 0) + sign * int(rest)
        whole[f"{unit}s"] = whole.get(f"{unit}s", 0) + sign * int(count)
    moment: date = now.replace(microsecond=0) if seconds else now.date()
    if whole:
        moment = add(moment, Span(**whole))
    if not seconds:
        return moment
    passing = timedelta(seconds=sign * int(seconds))
    return safely(lambda: _passed(moment, passing))


def _passed(moment: date, passing: timedelta) -> date:
    assert isinstance(moment, datetime)
    return (moment.astimezone(UTC) + passing).astimezone(moment.tzinfo)


# ---- Times of day --------------------------------------------------------------------------------


def _time_of_day(words: str) -> tuple[str, time | None, bool]:
    """The words without the time in them, the time, and whether its half of the day is known."""
    period = "tonight" if re.search(r"\btonight\b", words) else ""
    rest = words
    if found := PERIOD.search(rest):
        period = found[1]
        rest = _without(rest, found)
    for pattern in TIME:
        if found := pattern.search(_digits(rest)):
            named = found.groupdict()
            rest = _without(_digits(rest), found)
            if named.get("name"):
                return rest, NAMED_TIMES[named["name"]], True
            clock, known = _clock(named, period)
            return rest, clock, known
    if period and (bare := re.fullmatch(r"(?P<hour>1?\d)", _digits(rest))):  # ten at night
        clock, known = _clock(bare.groupdict(), period)
        return "", clock, known
    if period:
        return rest, time(PERIODS[period]), True
    return rest, None, True


def _digits(words: str) -> str:
    """`at five pm` as `at 5 pm`."""
    tokens = words.split()
    names = "one two three four five six seven eight nine ten eleven twelve".split()
    after = ("at", "past", "to", "by", "around")
    for at, token in enumerate(tokens):
        follows = tokens[at + 1] if at + 1 < len(tokens) else ""
        clocked = (tokens[at - 1] in after) if at else (not follows or follows in DAYS)
        clocked = clocked or follows in ("am", "pm", "o'clock", "oclock")
        if token in names and clocked:
            tokens[at] = str(names.index(token) + 1)
    return " ".join(tokens)


def _without(words: str, found: re.Match[str]) -> str:
    return " ".join(f"{words[: found.start()]} {words[found.end() :]}".split())


def _clock(named: dict[str, str | None], period: str) -> tuple[time, bool]:
    hour = int(named["hour"] or 0)
    minute, second = int(named.get("minute") or 0), int(named.get("second") or 0)
    half = named.get("half")
    known = bool(half) or bool(named.get("minute")) or hour > 12 or hour == 0
    if not half and period and hour <= 12 and not (named.get("minute") and hour == 0):
        half, known = ("a" if period == "morning" else "p"), True
    if hour > 23 or minute > 59 or second > 59 or (half and not 1 <= hour <= 12):
        raise InvalidArguments(f"there is no time {hour}:{minute:02}; {LIKE}.")
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    if past := named.get("past"):
        minute = 30 if past == "half" else 15
        if named["side"] == "to":
            hour, minute = (hour - 1) % 24, 60 - minute
    return time(hour, minute, second), known


def _joined(day: date | None, clock: time, known: bool, now: datetime) -> datetime:
    """The time on its day; without a day, the next time it is that."""
    if not known and day is not None and clock.hour <= 6:
        clock = clock.replace(hour=clock.hour + 12)  # nobody means five in the morning by "at 5"
    if day is not None:
        base = day.date() if isinstance(day, datetime) else day
        return exists(datetime.combine(base, clock, now.tzinfo))
    hours = [clock.hour] if known else [clock.hour % 12, clock.hour % 12 + 12]
    for ahead in (0, 1):
        for hour in hours:
            base = now.date() + timedelta(days=ahead)
            moment = exists(datetime.combine(base, clock.replace(hour=hour), now.tzinfo))
            if moment > now:
                return moment
    return moment


# ---- Days ----------------------------------------------------------------------------------------


def _stripped(words: str) -> str:
    words = re.sub(
        r"^(?:on|at|by|for|until|till|from|this|coming|of|in)\s+|\s+(?:at|on|by|in)$", "", words
    )
    return "" if words in ("at", "on", "in", "by", "for", "this") else words


def _day(words: str, now: datetime) -> date | None:
    today = now.date()
    if words in DAYS:
        return safely(lambda: today + timedelta(days=DAYS[words]))
    which, _, name = words.partition(" ")
    if words in WEEKDAY:
        which, name = "next", words
    if which in ("next", "last", "this", "coming") and name in WEEKDAY:
        ahead = (WEEKDAY[name] - today.weekday()) % 7
        days = (ahead - 7) if which == "last" else (ahead or 7)
        return safely(lambda: today + timedelta(days=days))
    if which in ("next", "last") and name in ("week", "month", "year"):
        return add(today, Span(**{f"{name}s": 1 if which == "next" else -1}))
    if words in ("weekend", "next weekend"):
        return safely(lambda: today + timedelta(days=(5 - today.weekday()) % 7 or 7))
    if words in ("end of month", "end of year", "end of week"):
        return _end_of(words.rpartition(" ")[2], today)
    return safely_or_none(lambda: _calendar_day(words, today))


def _end_of(what: str, today: date) -> date:
    if what == "week":
        return safely(lambda: today + timedelta(days=6 - today.weekday()))
    month = 12 if what == "year" else today.month
    return date(today.year, month, monthrange(today.year, month)[1])


def safely_or_none(compute: Callable[[], date | None]) -> date | None:
    """What is computed, None for a day that is in no calendar, like February 30."""
    try:
        return compute()
    except (ValueError, OverflowError):
        return None


def _calendar_day(words: str, today: date) -> date | None:
    """`march 3`, `3rd of march 2027`, `christmas 2027`, `5th`, `25.12.2026`, `12/25`."""
    found = re.fullmatch(r"(.*?)(?:\s+(?:of\s+)?(\d{4}))?", words)
    assert found is not None
    name, year = found[1].removeprefix("next "), int(found[2]) if found[2] else None
    if name in HOLIDAYS:
        return _coming(HOLIDAYS[name], year, today)
    found = re.fullmatch(r"(\d{1,2})(?:st|nd|rd|th)?(?: of)? ([a-z]+)", name) or re.fullmatch(
        r"(?P<b>[a-z]+) (?P<a>\d{1,2})(?:st|nd|rd|th)?", name
    )
    if found:
        named = found.groupdict()
        day, month = int(named.get("a") or found[1]), named.get("b") or found[2]
        if month in MONTH:
            return _coming(lambda y: date(y, MONTH[month], day), year, today)
    if name in MONTH:
        return _coming(lambda y: date(y, MONTH[name], 1), year, today)
    if (found := re.fullmatch(r"(\d{1,2})(?:st|nd|rd|th)", name)) and year is None:
        return _next_of_month(int(found[1]), today)
    return _numeric(words, today)


def _numeric(words: str, today: date) -> date | None:
    """`25.12.2026` is day first; `12/25/2026` is read where only one way is a date."""
    if found := re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.?(\d{4})?", words):
        day, month = int(found[1]), int(found[2])
    elif found := re.fullmatch(r"(\d{1,2})/(\d{1,2})(?:/(\d{4}))?", words):
        day, month = sorted((int(found[1]), int(found[2])), reverse=True)
        if day <= 12 and day != month:
            raise InvalidArguments(
                f"{words!r} may be two days; write it like 2026-03-14 or march 14."
            )
    else:
        return None
    return _coming(lambda y: date(y, month, day), int(found[3]) if found[3] else None, today)


def _coming(day: Callable[[int], date], year: int | None, today: date) -> date:
    """The day in its year; without one, the next there is, today included."""
    if year is not None:
        return day(year)
    for ahead in range(9):  # 29 February may be eight years away
        try:
            found = day(today.year + ahead)
        except ValueError:
            continue
        if found >= today:
            return found
    return day(today.year)


def _next_of_month(day: int, today: date) -> date | None:
    for ahead in range(3):
        months = today.month - 1 + ahead
        year, month = today.year + months // 12, months % 12 + 1
        if day <= monthrange(year, month)[1] and date(year, month, day) >= today:
            return date(year, month, day)
    return None
