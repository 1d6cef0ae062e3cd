"""How pages are filled in: text is escaped, what is missing is an error, numbers are written as people read them."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def environment() -> Environment:
    """Of all pages."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"fixed": fixed, "percent": percent, "duration": duration}
    return made


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with so many digits behind the point, "–" where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """A share: whole percents, one digit below ten."""
    if value is None:
        return "–"
    return f"{100 * value:.0f} %" if value >= 0.0995 else f"{100 * value:.1f} %"


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 48 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
