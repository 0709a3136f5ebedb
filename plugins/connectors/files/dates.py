"""Dates as people write them, made ISO 8601. Whether 03/04/2026 is in March or April is declared, never guessed."""

import re
from datetime import date, datetime
from typing import Literal

Order = Literal["iso", "day-first", "month-first"]

_TIME = r"""
    (?:,?[ T]+ (?P<hour>\d{1,2}) [:.] (?P<minute>\d\d) (?:[:.] (?P<seconds>\d\d) (?:[.,] (?P<fraction>\d+))?)?
        (?:\s* (?P<half>[AaPp]) \.? [Mm] \.?)?
        (?:\s* (?P<zone> Z | UTC | GMT | [+-]\d\d:?(?:\d\d)?))?
    )?"""
_YEAR_FIRST = re.compile(r"(?P<year>\d{4}) ([./-]) (?P<first>\d{1,2}) \2 (?P<second>\d{1,2})" + _TIME, re.X | re.A)
_YEAR_LAST = re.compile(r"(?P<first>\d{1,2}) ([./ -]) (?P<second>\d{1,2}) \2 (?P<year>\d{4}|\d\d)" + _TIME, re.X | re.A)
_DIGIT = re.compile(r"\d")


def moment_of(written: str, order: Order) -> tuple[datetime | None, str]:
    """The moment, and the text that names it in ISO 8601: the very same text if that is how it was written.

    A word is a date to nobody and stays what it is. ValueError says why the rest cannot be read, in words that follow
    the name of the column.
    """
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        text = written.strip()
    else:
        return moment, written if written[4:8:3] == "--" else moment.isoformat()
    if match := _YEAR_FIRST.fullmatch(text):
        iso = _iso(text, match, month=match["first"], day=match["second"])
    elif match := _YEAR_LAST.fullmatch(text):
        iso = _iso_of_year_last(text, match, order)
    elif _DIGIT.search(text):
        raise ValueError(f"is no date that can be read: {text[:50]}")
    else:
        return None, written
    return datetime.fromisoformat(iso), iso


def _iso_of_year_last(text: str, match: re.Match[str], order: Order) -> str:
    first, second = match["first"], match["second"]
    if len(match["year"]) == 2:
        raise ValueError(f"has a year of two digits: {text}. Export it with four")
    if order == "iso":
        raise ValueError(
            f"may have the day or the month first: {text}."
            " Export ISO dates (2026-12-31), or declare dates: day-first or month-first"
        )
    if order == "day-first":
        return _iso(text, match, month=second, day=first)
    return _iso(text, match, month=first, day=second)


def _iso(text: str, match: re.Match[str], *, month: str, day: str) -> str:
    try:
        on = date(int(match["year"]), int(month), int(day))
    except ValueError:
        raise ValueError(f"is on no day of the calendar: {text} would be month {month}, day {day}") from None
    if match["hour"] is None:
        return on.isoformat()
    hour = int(match["hour"])
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(f"is at no time of day: {text}")
        hour = hour % 12 + (12 if match["half"] in "Pp" else 0)
    zone = {None: "", "UTC": "Z", "GMT": "Z"}.get(match["zone"], match["zone"] or "")
    fraction = f".{match['fraction'][:6]}" if match["fraction"] else ""
    iso = f"{on}T{hour:02}:{match['minute']}:{match['seconds'] or '00'}{fraction}{zone}"
    try:
        datetime.fromisoformat(iso)
    except ValueError:
        raise ValueError(f"is at no time of day: {text}") from None
    return iso
