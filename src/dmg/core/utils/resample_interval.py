"""Names of resampling intervals, whatever pandas calls them this year."""

from __future__ import annotations

from dmg.errors import ConfigError, did_you_mean

_INTERVALS = {
    "h": ("h", "hour", "hourly"),
    "D": ("d", "day", "daily"),
    "W": ("w", "week", "weekly"),
    "ME": ("m", "me", "month", "monthly"),
    "QE": ("q", "qe", "quarter", "quarterly"),
    "YE": ("y", "ye", "a", "year", "yearly", "annual"),
}


def format_resample_interval(interval: str) -> str:
    """Return the pandas offset of an interval such as 'D', '3d', 'M', 'monthly' or 'Y'.

    Raises
    ------
    ConfigError
        If it is no hourly, daily, weekly, monthly, quarterly or yearly interval.
    """
    text = str(interval).strip()
    count = text[: len(text) - len(text.lstrip("0123456789"))]
    word = text[len(count) :].strip().lower()
    for offset, spellings in _INTERVALS.items():
        if word in spellings:
            return f"{count}{offset}"
    known = [name for spellings in _INTERVALS.values() for name in spellings]
    raise ConfigError(f"'{interval}' is no interval to resample to", hint=did_you_mean(word, known))
