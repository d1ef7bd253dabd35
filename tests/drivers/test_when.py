"""Dates and times as people say them."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.drivers.when import HOLIDAYS, WEEKDAYS, parse
from cabinos.kernel.errors import InvalidArguments, ToolError

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 24, 10, 30, 15, 999, tzinfo=BERLIN)  # a Tuesday


def at(day: int, hour: int, minute: int = 0, second: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, second, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01", date(2026, 12, 1)),
        ("20261201", date(2026, 12, 1)),
        ("2026-12-01T08:00", at(1, 8, month=12)),
        ("2026-12-01 08:00", at(1, 8, month=12)),
        ("2026-12-01T08:00Z", datetime(2026, 12, 1, 8, tzinfo=UTC)),
        ("now", at(24, 10, 30, 15)),
        # days
        ("Today", date(2026, 11, 24)),
        ("tomorrow", date(2026, 11, 25)),
        ("the day after tomorrow", date(2026, 11, 26)),
        ("yesterday", date(2026, 11, 23)),
        ("friday", date(2026, 11, 27)),
        ("on Friday", date(2026, 11, 27)),
        ("tuesday", date(2026, 12, 1)),
        ("next monday", date(2026, 11, 30)),
        ("next tuesday", date(2026, 12, 1)),
        ("Next  Wednesday", date(2026, 11, 25)),
        ("last tuesday", date(2026, 11, 17)),
        ("last monday", date(2026, 11, 23)),
        ("this weekend", date(2026, 11, 28)),
        ("next week", date(2026, 12, 1)),
        ("next month", date(2026, 12, 24)),
        ("next year", date(2027, 11, 24)),
        ("the end of the month", date(2026, 11, 30)),
        ("end of the year", date(2026, 12, 31)),
        ("march 3", date(2027, 3, 3)),
        ("3 march 2027", date(2027, 3, 3)),
        ("March 3rd, 2028", date(2028, 3, 3)),
        ("the 3rd of march", date(2027, 3, 3)),
        ("third of march", date(2027, 3, 3)),
        ("dec 1", date(2026, 12, 1)),
        ("november 24", date(2026, 11, 24)),
        ("february 29", date(2028, 2, 29)),
        ("in march", date(2027, 3, 1)),
        ("on the 5th", date(2026, 12, 5)),
        ("the 30th", date(2026, 11, 30)),
        ("25.12.2026", date(2026, 12, 25)),
        ("12/25", date(2026, 12, 25)),
        ("christmas", date(2026, 12, 25)),
        ("Christmas 2028", date(2028, 12, 25)),
        ("new year", date(2027, 1, 1)),
        ("New Year's Eve", date(2026, 12, 31)),
        ("valentine’s day", date(2027, 2, 14)),
        ("easter", date(2027, 3, 28)),
        ("thanksgiving", date(2026, 11, 26)),
        # lengths of time
        ("in 3 weeks", date(2026, 12, 15)),
        ("in 1 day", date(2026, 11, 25)),
        ("in a week", date(2026, 12, 1)),
        ("three days from now", date(2026, 11, 27)),
        ("a fortnight", date(2026, 12, 8)),
        ("2 months ago", date(2026, 9, 24)),
        ("a year and a half ago", date(2025, 5, 24)),
        ("5 weekdays", date(2026, 12, 1)),
        ("in 90 minutes", at(24, 12, 0, 15)),
        ("10 minutes", at(24, 10, 40, 15)),
        ("in ten minutes", at(24, 10, 40, 15)),
        ("10min", at(24, 10, 40, 15)),
        ("in 30 seconds", at(24, 10, 30, 45)),
        ("in half an hour", at(24, 11, 0, 15)),
        ("half an hour", at(24, 11, 0, 15)),
        ("in an hour", at(24, 11, 30, 15)),
        ("in an hour and a half", at(24, 12, 0, 15)),
        ("one and a half hours", at(24, 12, 0, 15)),
        ("1.5 hours", at(24, 12, 0, 15)),
        ("2 hours and 30 minutes", at(24, 13, 0, 15)),
        ("a quarter of an hour", at(24, 10, 45, 15)),
        ("an hour ago", at(24, 9, 30, 15)),
        # times of day
        ("at 5 pm", at(24, 17)),
        ("5pm", at(24, 17)),
        ("5 p.m.", at(24, 17)),
        ("at five pm", at(24, 17)),
        ("5:45 pm", at(24, 17, 45)),
        ("at 5", at(24, 17)),
        ("at 11", at(24, 11)),
        ("at 10", at(24, 22)),
        ("9:00", at(25, 9)),
        ("14:30", at(24, 14, 30)),
        ("12 am", at(25, 0)),
        ("12pm", at(24, 12)),
        ("noon", at(24, 12)),
        ("midnight", at(25, 0)),
        ("half past 5", at(24, 17, 30)),
        ("half past five", at(24, 17, 30)),
        ("quarter to 6 pm", at(24, 17, 45)),
        ("a quarter past 3", at(24, 15, 15)),
        ("10 o'clock", at(24, 22)),
        ("tonight", at(24, 20)),
        ("tonight at 9", at(24, 21)),
        ("this evening", at(24, 19)),
        # both
        ("tomorrow at 5pm", at(25, 17)),
        ("5 pm tomorrow", at(25, 17)),
        ("tomorrow at 5", at(25, 17)),
        ("tomorrow at 8", at(25, 8)),
        ("tomorrow morning", at(25, 9)),
        ("tomorrow morning at 7", at(25, 7)),
        ("tomorrow at noon", at(25, 12)),
        ("friday 9:00", at(27, 9)),
        ("friday at 9 in the evening", at(27, 21)),
        ("3pm on friday", at(27, 15)),
        ("next friday at 17:30", at(27, 17, 30)),
        ("dec 24 at 6pm", at(24, 18, month=12)),
        ("in two days at 8am", at(26, 8)),
        ("today at 9:00", at(24, 9)),
    ],
)
def test_what_people_say(text: str, expected: date) -> None:
    found = parse(text, NOW)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "text",
    ["", "at", "soon", "next", "in 3 moons", "2026-13-01", "2026-02-30", "february 30", "3 4"]
    + ["monday tuesday", "the 32nd", "half", "in", "1.5 months", "in 1e9 days"],
)
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(InvalidArguments, match="is not understood"):
        parse(text, NOW)


@pytest.mark.parametrize("text", ["24:00", "at 25:00", "tomorrow at 13pm", "9:75", "0 am"])
def test_times_that_do_not_exist(text: str) -> None:
    with pytest.raises(InvalidArguments, match="there is no time"):
        parse(text, NOW)


def test_what_may_be_two_days() -> None:
    with pytest.raises(InvalidArguments, match="may be two days"):
        parse("3/4", NOW)


def test_beyond_the_calendar() -> None:
    with pytest.raises(ToolError, match="years 1 to 9999"):
        parse("in 9999 years", NOW)


def test_a_day_has_one_hour_more_when_the_clocks_change() -> None:
    before = datetime(2026, 10, 24, 12, tzinfo=BERLIN)  # summer time ends on the 25th
    assert parse("in 24 hours", before).isoformat() == "2026-10-25T11:00:00+01:00"
    assert parse("tomorrow at noon", before).isoformat() == "2026-10-25T12:00:00+01:00"


@given(st.text("0123456789-:TZ+. indayswekmothgxlrpafu'/", max_size=30))
def test_any_text_is_a_date_or_an_error(text: str) -> None:
    with suppress(InvalidArguments, ToolError):
        assert isinstance(parse(text, NOW), date)


WORDS = "in at on the next last 5 10 half an a hour pm am monday tomorrow tonight march 3rd of and"


@given(st.lists(st.sampled_from(WORDS.split()), max_size=7).map(" ".join))
def test_so_are_any_of_its_words(text: str) -> None:
    with suppress(InvalidArguments, ToolError):
        assert isinstance(parse(text, NOW), date)


MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=BERLIN)
)


@given(MOMENTS, st.sampled_from(WEEKDAYS))
def test_a_weekday_is_the_next_one(now: datetime, name: str) -> None:
    found = parse(name, now)
    assert found.weekday() == WEEKDAYS.index(name)
    assert timedelta(0) < found - now.date() <= timedelta(7)


@given(MOMENTS, st.integers(0, 23), st.integers(0, 59))
def test_a_time_of_day_is_within_a_day(now: datetime, hour: int, minute: int) -> None:
    found = parse(f"{hour}:{minute:02}", now)
    assert isinstance(found, datetime)
    assert now < found <= now + timedelta(hours=26)  # the clocks may change


@given(MOMENTS, st.sampled_from(sorted(HOLIDAYS)))
def test_a_holiday_is_the_next_one(now: datetime, name: str) -> None:
    assert timedelta(0) <= parse(name, now) - now.date() <= timedelta(385)


@given(st.dates(date(1, 1, 1), date(9999, 12, 31)))
def test_any_date_reads_back(day: date) -> None:
    assert parse(day.isoformat(), NOW) == day
    if day.year >= 1000:
        assert parse(f"{day:%B} {day.day}, {day.year}", NOW) == day
        assert parse(f"{day.day}.{day.month}.{day.year}", NOW) == day
