"""Arithmetic of the calendar: how much later, and how long between.

Dates are computed as people do: a day later is the same time of the next day, whatever daylight
saving does in between, and a month after 31 January is the last day of February. Hours and minutes
are durations: they pass at the same rate always. Business days are Monday to Friday.
"""

from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from cabinos.kernel.errors import ToolError

__all__ = ["Span", "add", "between", "exists", "safely"]


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


def add(start: date, span: Span) -> date:
    """`start` and `span` later: years and months, then days, then business days, then hours.

    Raises ToolError if that is outside of the years 1 to 9999, or if hours are added to a date.
    """
    return safely(lambda: _add(start, span))


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
        moment = exists(datetime.combine(day, start.timetz()))
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


def exists(moment: datetime) -> datetime:
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


def safely(compute: Callable[[], date]) -> date:
    """What is computed. Raises ToolError if that is outside of the calendar."""
    try:
        return compute()
    except (ValueError, OverflowError):
        raise ToolError("that is outside of the years 1 to 9999.") from None
