"""Dates and periods as the configuration writes them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from dmg.conf.section import Section
from dmg.errors import ConfigError

FORMATS = ("%Y/%m/%d", "%Y-%m-%d", "%Y/%m/%d %H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")


def parse_date(value: Any) -> datetime:
    """Return the moment that a date of the configuration names.

    Raises
    ------
    ConfigError
        If it is no date of the calendar.
    """
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    for form in FORMATS:
        try:
            return datetime.strptime(str(value).strip(), form)
        except ValueError:
            continue
    raise ConfigError(f"{value!r} is no date", hint="write YYYY/MM/DD, for example 1999/10/01")


def format_date(value: Any) -> str:
    """Return a date as 'YYYY/MM/DD', with 'HH:MM' behind it where a time of day is given.

    A date alone means the whole day, and its midnight the first moment of it: a text that names midnight keeps it.
    """
    moment = parse_date(value)
    whole_day = moment.hour == moment.minute == 0 and not (isinstance(value, str) and ":" in value)
    return moment.strftime("%Y/%m/%d" if whole_day else "%Y/%m/%d %H:%M")


Date = Annotated[str, BeforeValidator(format_date)]


class Period(Section):
    """A period of time; both ends belong to it."""

    start_time: Date = Field(description="First day of the period, YYYY/MM/DD.")
    end_time: Date = Field(description="Last day of the period, YYYY/MM/DD; it belongs to the period.")

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.start > self.end:
            raise ConfigError(
                f"start_time {self.start_time} is behind end_time {self.end_time}",
                hint="swap or correct the dates",
            )
        return self

    @property
    def start(self) -> datetime:
        """The first day."""
        return parse_date(self.start_time)

    @property
    def end(self) -> datetime:
        """The last day."""
        return parse_date(self.end_time)

    @property
    def days(self) -> int:
        """Number of days, both ends included."""
        return (self.end - self.start).days + 1

    @property
    def span(self) -> list[str]:
        """The two dates as a list, as the derived keys ``train_time`` … have them."""
        return [self.start_time, self.end_time]


Mask = Annotated[
    str | None,
    Field(
        description="Which observations of the period count: a CSV with the columns site, start, end, or a variable "
        "(time, site) of the store that is not 0 there; null for all.",
    ),
]
