"""Dates and times: the calendar's corners, daylight saving, arithmetic that agrees with itself."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.drivers.clock import driver
from cabinos.drivers.spans import Span, add, between
from cabinos.drivers.zones import PLACES, zone_of
from cabinos.kernel.errors import InvalidArguments, ToolError
from tests.drivers.support import call, context, named

BERLIN = ZoneInfo("Europe/Berlin")
CLOCK = driver({"zone": "Europe/Berlin"})


def test_declared() -> None:
    assert {(t.name, t.effect, t.label, t.egress) for t in CLOCK.tools} == {
        (name, "pure", "trusted", False) for name in ("clock_now", "clock_add", "clock_between")
    }


# ---- Arithmetic ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "span", "expected"),
    [
        (date(2026, 1, 31), Span(months=1), date(2026, 2, 28)),
        (date(2024, 1, 31), Span(months=1), date(2024, 2, 29)),
        (date(2024, 2, 29), Span(years=1), date(2025, 2, 28)),
        (date(2026, 3, 31), Span(months=-1), date(2026, 2, 28)),
        (date(2026, 12, 15), Span(months=1), date(2027, 1, 15)),
        (date(2026, 1, 15), Span(months=-13), date(2024, 12, 15)),
        (date(2026, 11, 24), Span(weeks=1, days=-1), date(2026, 11, 30)),
        (date(2026, 11, 27), Span(business_days=1), date(2026, 11, 30)),
        (date(2026, 11, 28), Span(business_days=1), date(2026, 11, 30)),
        (date(2026, 11, 28), Span(business_days=-1), date(2026, 11, 27)),
        (date(2026, 11, 24), Span(business_days=10), date(2026, 12, 8)),
        (date(2026, 11, 24), Span(business_days=-2), date(2026, 11, 20)),
    ],
)
def test_dates(start: date, span: Span, expected: date) -> None:
    assert add(start, span) == expected


def test_a_day_is_a_day_and_24_hours_are_24_hours_when_the_clocks_change() -> None:
    before = datetime(2026, 10, 24, 12, tzinfo=BERLIN)  # summer time ends on the 25th
    assert add(before, Span(days=1)).isoformat() == "2026-10-25T12:00:00+01:00"
    assert add(before, Span(hours=24)).isoformat() == "2026-10-25T11:00:00+01:00"
    assert between(before, add(before, Span(days=1)))["hours"] == 25


def test_a_time_that_does_not_exist_is_moved_on() -> None:
    before = datetime(2026, 3, 28, 2, 30, tzinfo=BERLIN)  # the clocks go from 2 to 3 the day after
    assert add(before, Span(days=1)).isoformat() == "2026-03-29T03:30:00+02:00"


def test_both_times_of_an_hour_that_comes_twice() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    assert add(first, Span(hours=1)).isoformat() == "2026-10-25T02:30:00+01:00"
    assert between(first, add(first, Span(hours=1)))["seconds"] == 3600


def test_beyond_the_calendar() -> None:
    for span in (
        Span(years=10_000),
        Span(months=-(10**6)),
        Span(days=10**6 * 5),
        Span(business_days=-(10**6)),
    ):
        with pytest.raises(ToolError, match="years 1 to 9999"):
            add(date(2026, 1, 1), span)
    with pytest.raises(ToolError, match="hours and minutes need a start with a time"):
        add(date(2026, 1, 1), Span(hours=1))


def test_between() -> None:
    assert between(date(2026, 11, 24), date(2027, 1, 2)) == {
        "days": 39,
        "weeks_and_days": [5, 4],
        "years_months_days": [0, 1, 9],
        "business_days": 28,
    }
    assert between(date(2024, 2, 29), date(2025, 2, 28))["years_months_days"] == [1, 0, 0]
    assert between(date(2026, 1, 31), date(2026, 3, 1))["years_months_days"] == [0, 1, 1]
    there = between(date(2026, 11, 24), datetime(2026, 11, 25, 12, tzinfo=BERLIN))
    assert (there["days"], there["hours"]) == (1, 36)


def test_between_zones() -> None:
    start = datetime(2026, 11, 24, 10, tzinfo=BERLIN)
    end = datetime(2026, 11, 24, 10, tzinfo=ZoneInfo("America/New_York"))
    assert between(start, end)["hours"] == 6


DATES = st.dates(date(1900, 1, 1), date(2100, 1, 1))


@given(DATES, st.integers(-5_000, 5_000))
def test_days_that_were_added_are_counted(start: date, days: int) -> None:
    assert between(start, add(start, Span(days=days)))["days"] == days


@given(DATES, st.integers(-5_000, 5_000))
def test_business_days_that_were_added_are_counted(start: date, count: int) -> None:
    end = add(start, Span(business_days=count))
    assert count == 0 or end.weekday() < 5
    assert between(start, end)["business_days"] == count


@given(DATES, DATES)
def test_years_months_and_days_lead_there(start: date, end: date) -> None:
    years, months, days = between(start, end)["years_months_days"]
    first, last = sorted((start, end))
    sign = 1 if end >= start else -1
    there = add(first, Span(years=sign * years, months=sign * months))
    assert there + timedelta(days=sign * days) == last
    assert 0 <= sign * months < 12
    assert 0 <= sign * days <= 31


# ---- As a tool -----------------------------------------------------------------------------------


def test_now() -> None:
    shown = call(named(CLOCK, "clock_now"), context())
    moment = datetime.fromisoformat(shown.partition(" ")[0])
    assert abs(datetime.now(UTC) - moment) < timedelta(seconds=5)
    assert moment.utcoffset() == datetime.now(BERLIN).utcoffset()
    assert shown.endswith(f"({moment:%A})")
    assert call(named(CLOCK, "clock_now"), context(), zone="UTC").split()[0].endswith("+00:00")


def test_adding_and_counting_as_tools() -> None:
    added = call(named(CLOCK, "clock_add"), context(), start="2026-01-31", months=1, days=1)
    assert added == "2026-03-01 (Sunday)"
    between_ = named(CLOCK, "clock_between")
    told = call(between_, context(), start="2026-11-24", end="2027-01-02")
    assert told == "39 days (5 weeks 4 days; 1 month 9 days; 28 business days)"
    assert call(between_, context(), start="yesterday", end="tomorrow").startswith("2 days (")
    assert call(between_, context(), start="today", end="today") == "0 days (0 business days)"
    told = call(between_, context(), start="2026-11-24T10:00", end="2026-11-23")
    assert told == "-1 day (-34 hours; -1 business day)"


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("tokyo", "Asia/Tokyo"),
        ("New York", "America/New_York"),
        ("india", "Asia/Kolkata"),
        ("San Francisco?", "America/Los_Angeles"),
        ("Paris, France", "Europe/Paris"),
        ("europe/berlin", "Europe/Berlin"),
        ("UK", "Europe/London"),
        ("gmt", "UTC"),
    ],
)
def test_zones_of_cities_and_countries(name: str, zone: str) -> None:
    assert zone_of(name).key == zone


def test_every_place_is_in_a_zone_there_is() -> None:
    for zone, places in PLACES.items():
        for place in places.split(", "):
            assert zone_of(place).key == zone


@pytest.mark.parametrize("zone", ["Nowhere/Here", "../../etc/passwd", "/etc/passwd", "\0"])
def test_a_zone_that_is_none(zone: str) -> None:
    with pytest.raises(InvalidArguments, match="is no time zone known here"):
        call(named(CLOCK, "clock_now"), context(), zone=zone)
    with pytest.raises(InvalidArguments):
        driver({"zone": zone})


def test_the_systems_zone_is_known_by_name() -> None:
    code = (
        "from cabinos.drivers.clock import driver, add, Span\n"
        "from tests.drivers.support import *\n"
        "tool = named(driver({}), 'clock_add')\n"
        "print(call(tool, context(), start='2026-07-01T12:00', months=6))"
    )
    environment = {**os.environ, "TZ": "Europe/Berlin"}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert output == "2027-01-01T12:00:00+01:00 (Friday)\n"
