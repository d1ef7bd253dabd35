"""Device: the date and the time, and arithmetic with them.

Dates are computed as people do: a day later is the same time of the next day, whatever daylight
saving does in between, and a month after 31 January is the last day of February. Hours and minutes
are durations: they pass at the same rate always. Business days are Monday to Friday.
"""

import os
import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field

from cabinos.kernel.driver import Driver, tool
from cabinos.kernel.errors import InvalidArguments, ToolError

__all__ = ["add", "between", "driver", "parse"]

WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
RELATIVE = re.compile(r"(?:in (\d{1,6}) (\w+?)s?|(\d{1,6}) (\w+?)s? ago)")
LONG = 10**6  # of any unit: beyond, the calendar ends

When = Annotated[
    str,
    Field(
        max_length=60,
        description="2026-11-24, 2026-11-24T10:30, now, today, tomorrow, next monday, in 3 weeks",
    ),
]
Zone = Annotated[
    str, Field(max_length=60, description="like Europe/Berlin or UTC; otherwise the user's own")
]
Amount = Annotated[int, Field(ge=-LONG, le=LONG)]


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time in the units of the calendar; any of them may be negative."""

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    business_days: int = 0
    hours: int = 0
    minutes: int = 0


def driver(config: Mapping[str, Any]) -> Driver:
    """The clock device. `config`: zone (the user's time zone; default: the system's)."""
    own = _zone(str(config["zone"])) if config.get("zone") else _system_zone()

    def now(zone: str) -> datetime:
        return datetime.now(UTC).astimezone(_zone(zone) if zone else own)

    @tool(effect="pure", label="trusted")
    async def clock_now(zone: Zone = "") -> str:
        """The date, the weekday and the time now."""
        return shown(now(zone).replace(microsecond=0))

    @tool(effect="pure", label="trusted")
    async def clock_add(
        start: When,
        years: Amount = 0,
        months: Amount = 0,
        weeks: Amount = 0,
        days: Amount = 0,
        business_days: Amount = 0,
        hours: Amount = 0,
        minutes: Amount = 0,
    ) -> str:
        """The date or time that is so much after the start; before it, with negative numbers."""
        span = Span(years, months, weeks, days, business_days, hours, minutes)
        return shown(add(parse(start, now("")), span))

    @tool(effect="pure", label="trusted")
    async def clock_between(start: When, end: When) -> dict[str, Any]:
        """How long it is from the start to the end: in days, in business days, in all units."""
        today = now("")
        return between(parse(start, today), parse(end, today))

    return Driver("clock", tools=[clock_now, clock_add, clock_between])


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidArguments(
            f"{name!r} is no time zone known here; write it like Europe/Berlin or UTC."
        ) from None


def _system_zone() -> ZoneInfo | None:
    """The zone by its name, with its past and future; None where only today's offset is known."""
    name = os.environ.get("TZ", "").lstrip(":")
    if not name:
        with suppress(OSError):
            name = str(Path("/etc/localtime").readlink()).partition("zoneinfo/")[2]
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        return None


def shown(moment: date) -> str:
    """ISO 8601 and the weekday: `2026-11-24 (Tuesday)`."""
    return f"{moment.isoformat()} ({WEEKDAYS[moment.weekday()].capitalize()})"


def parse(text: str, now: datetime) -> date:
    """A date, or a time with its zone, as written. `now` settles what is relative.

    "next monday" is the first Monday after today. A time without a zone is in that of `now`.
    Raises InvalidArguments if it is nothing of what is understood.
    """
    words = " ".join(text.lower().split())
    if words == "now":
        return now.replace(microsecond=0)
    if words in DAYS:
        return _safely(lambda: now.date() + timedelta(days=DAYS[words]))
    which, _, weekday = words.partition(" ")
    if which in ("next", "last") and weekday in WEEKDAYS:
        ahead = (WEEKDAYS.index(weekday) - now.weekday()) % 7
        days = (ahead or 7) if which == "next" else (ahead - 7)
        return now.date() + timedelta(days=days)
    if found := RELATIVE.fullmatch(words):
        return _relative(found, now)
    try:
        if len(words) <= 10:
            return date.fromisoformat(words.upper())
        moment = datetime.fromisoformat(words.upper())
    except ValueError:
        raise InvalidArguments(
            f"{text!r} is not understood; write it like 2026-11-24, 2026-11-24T10:30, "
            "now, today, tomorrow, yesterday, next monday, in 3 weeks or 2 days ago."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)


def _relative(found: re.Match[str], now: datetime) -> date:
    ahead, ahead_unit, back, back_unit = found.groups()
    count, unit = (int(ahead), ahead_unit) if ahead else (-int(back), back_unit)
    if unit not in ("year", "month", "week", "day", "hour", "minute"):
        raise InvalidArguments(f"{found[0]!r}: {unit!r} is no unit of time that is understood.")
    start = now.replace(microsecond=0) if unit in ("hour", "minute") else now.date()
    return add(start, Span(**{f"{unit}s": count}))


def add(start: date, span: Span) -> date:
    """`start` and `span` later: years and months, then days, then business days, then hours.

    Raises ToolError if that is outside of the years 1 to 9999, or if hours are added to a date.
    """
    return _safely(lambda: _add(start, span))


def _add(start: date, span: Span) -> date:
    day = start.date() if isinstance(start, datetime) else start
    months = 12 * (day.year + span.years) + day.month - 1 + span.months
    year, month = divmod(months, 12)
    last = monthrange(year, month + 1)[1]
    day = day.replace(year=year, month=month + 1, day=min(day.day, last))
    day += timedelta(weeks=span.weeks, days=span.days)
    day = _add_business_days(day, span.business_days)
    passing = timedelta(hours=span.hours, minutes=span.minutes)
    if isinstance(start, datetime):
        moment = _exists(datetime.combine(day, start.timetz()))
        return (moment.astimezone(UTC) + passing).astimezone(moment.tzinfo)
    if passing:
        raise ToolError("hours and minutes need a start with a time, like 2026-11-24T10:30.")
    return day


def _add_business_days(day: date, count: int) -> date:
    """`count` days from Monday to Friday later: whole weeks at once, then one day at a time.

    A weekend counts as the workday before it when going on, as the one after it when going back.
    """
    step = 1 if count >= 0 else -1
    weeks, rest = divmod(abs(count), 5)
    if count:
        while day.weekday() >= 5:
            day -= timedelta(days=step)
    day += timedelta(weeks=step * weeks)
    while rest:
        day += timedelta(days=step)
        rest -= day.weekday() < 5
    return day


def _exists(moment: datetime) -> datetime:
    """The moment itself; where the clocks were put forward over it, as much later as they were."""
    return moment.astimezone(UTC).astimezone(moment.tzinfo)


def between(start: date, end: date) -> dict[str, Any]:
    """The length of the time from `start` to `end` in every way that people count it.

    Days are counted from date to date, whatever the time of day. If one end is a time, a date
    stands for its midnight. `business_days` are those after the start, the end included.
    """
    seconds = int((_moment(end, start) - _moment(start, end)).total_seconds())
    sign = 1 if seconds >= 0 else -1
    first, last = (start, end) if sign > 0 else (end, start)
    days = (_day(last) - _day(first)).days
    months = 12 * (_day(last).year - _day(first).year) + _day(last).month - _day(first).month
    while months and _add(_day(first), Span(months=months)) > _day(last):
        months -= 1
    rest = (_day(last) - _add(_day(first), Span(months=months))).days
    answer: dict[str, Any] = {
        "days": sign * days,
        "weeks_and_days": [sign * (days // 7), sign * (days % 7)],
        "years_months_days": [sign * (months // 12), sign * (months % 12), sign * rest],
        "business_days": sign * _business_days(_day(start), days, sign),
    }
    if isinstance(start, datetime) or isinstance(end, datetime):
        answer["hours"] = round(seconds / 3600, 4)
        answer["seconds"] = seconds
    return answer


def _business_days(start: date, days: int, step: int) -> int:
    """Days from Monday to Friday among the `days` that follow `start` (step 1) or precede it (-1).

    So that counting them and adding them agree.
    """
    weeks, rest = divmod(days, 7)
    return 5 * weeks + sum((start.weekday() + step * n) % 7 < 5 for n in range(1, rest + 1))


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _moment(moment: date, other: date) -> datetime:
    """In UTC. A date is the midnight that begins it, in the zone of the other end if it has one."""
    if not isinstance(moment, datetime):
        zone: tzinfo | None = other.tzinfo if isinstance(other, datetime) else UTC
        moment = datetime.combine(moment, time(), zone)
    return moment.astimezone(UTC)


def _safely(compute: Callable[[], date]) -> date:
    try:
        return compute()
    except (ValueError, OverflowError):
        raise ToolError("that is outside of the years 1 to 9999.") from None
