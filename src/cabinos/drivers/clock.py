"""Device: the date and the time, and arithmetic with them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import Field

from cabinos.drivers.spans import Span, add, between
from cabinos.drivers.when import LONG, WEEKDAYS, parse
from cabinos.drivers.zones import system_zone, zone_of
from cabinos.kernel.driver import Driver, tool

__all__ = ["driver"]

When = Annotated[
    str,
    Field(
        max_length=60,
        examples=["today", "now"],  # nobody has to say these to mean them
        json_schema_extra={"x-copy": "time"},
        description="2026-11-24, 2026-11-24T10:30, now, tomorrow at 5pm, next monday, in 3 weeks",
    ),
]
Zone = Annotated[
    str,
    Field(
        max_length=60,
        description="like Europe/Berlin, Tokyo, India; otherwise the user's own",
        json_schema_extra={"x-copy": "zone"},
    ),
]
Amount = Annotated[int, Field(ge=-LONG, le=LONG)]


def driver(
    config: Mapping[str, Any], now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Driver:
    """The clock device. `config`: zone (the user's time zone; default: the system's).

    `now` is whose time it tells: an instant with its zone.
    """
    own = zone_of(str(config["zone"])) if config.get("zone") else system_zone()

    def now_in(zone: str) -> datetime:
        return now().astimezone(zone_of(zone) if zone else own)

    @tool(
        effect="pure",
        label="trusted",
        says=_now_said,
        hints="what time is it now what day is it today date clock current time in weekday "
        "timezone tokyo london new york india hour year month late weekend",
    )
    async def clock_now(zone: Zone = "") -> str:
        """The date, the weekday and the time now."""
        return shown(now_in(zone).replace(microsecond=0))

    @tool(
        effect="pure",
        label="trusted",
        says=lambda _, result: _said("That's", result),
        hints="what date day will it be in days weeks months years from now after before later "
        "ago from today add business days deadline due weekday of what day is was which eve",
    )
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
        return shown(add(parse(start, now_in("")), span))

    @tool(
        effect="pure",
        label="trusted",
        says=_between_said,
        hints="how long how soon how many days weeks months until till between since from to "
        "countdown left christmas birthday away age old born time difference passed",
    )
    async def clock_between(start: When, end: When) -> str:
        """How long it is from the start to the end: in days, in business days, in all units."""
        today = now_in("")
        return told(between(parse(start, today), parse(end, today)))

    return Driver("clock", tools=[clock_now, clock_add, clock_between])


def shown(moment: date) -> str:
    """ISO 8601 and the weekday: `2026-11-24 (Tuesday)`."""
    return f"{moment.isoformat()} ({WEEKDAYS[moment.weekday()].capitalize()})"


def _now_said(arguments: Mapping[str, Any], result: str) -> str:
    said = _said("It's", result)
    zone = arguments.get("zone")
    return f"{said} in {zone}" if zone and said != result else said


def _between_said(_arguments: Mapping[str, Any], result: str) -> str:
    """`It's 39 days (…)`, `That was 39 days (…) ago` of what `told` tells."""
    if result[-1:] != ")":
        return result
    past = result.startswith("-")
    return f"That was {result.replace('-', '')} ago" if past else f"It's {result}"


def _said(begin: str, result: str) -> str:
    """`It's Tuesday, 2026-11-24, 10:30` of what `shown` shows; anything else as it is."""
    written, _, weekday = result.partition(" (")
    day, _, clock = written.partition("T")
    if weekday.rstrip(")").lower() not in WEEKDAYS:
        return result
    return f"{begin} {', '.join(filter(None, (weekday.rstrip(')'), day, clock[:5])))}"


def told(length: Mapping[str, Any]) -> str:
    """`39 days (5 weeks 4 days; 1 month 9 days; 28 business days)`, as `between` counts."""
    weeks, years = length["weeks_and_days"], length["years_months_days"]
    ways = [_counted(weeks, ("week", "day"))] if weeks[0] else []
    if years[0] or years[1]:
        ways.append(_counted(years, ("year", "month", "day")))
    ways.append(_counted([length["business_days"]], ("business day",)))
    if "hours" in length:
        ways.insert(0, f"{length['hours']:g} hours")
    return f"{_counted([length['days']], ('day',))} ({'; '.join(ways)})"


def _counted(counts: Sequence[int], names: Sequence[str]) -> str:
    """`1 year 2 days`; 0 of the last where there is nothing else."""
    named = [(count, name) for count, name in zip(counts, names, strict=True) if count]
    named = named or [(0, names[-1])]
    return " ".join(f"{n} {name}{'' if abs(n) == 1 else 's'}" for n, name in named)
