"""Numbers and names as a person reads them in the report, escaped where they came from outside."""

import html
import math
import re

# A text with these could show its words, or the page's after it, in another order than they have.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_MEASURES = {"tokens_per_second": "speed", "train_minutes": "training time", "memory_gib": "peak memory"}
_UNITS = {
    "tokens_per_second": "tokens/s",
    "minutes": "min",
    "seconds": "s",
    "gib": "GiB",
    "kwh": "kWh",
    "usd": "USD",
}


def escape(text: object) -> str:
    """Return a text that is safe in HTML content and attributes; control characters become visible."""
    shown = _UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", str(text))
    return html.escape(shown, quote=True)


def number(value: float | None) -> str:
    """Return a number with three significant digits or more; what is missing or no number is a dash."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    digits = 1 if size >= 10 else 2 if size >= 0.1 else 4 if size >= 0.001 else 6
    return f"{value:,.{digits}f}".replace("-", "\u2212")


def amount(value: float | None, unit: str) -> str:
    """Return a number of a measure; shares are percentages."""
    if value is None or not math.isfinite(value) or unit != "share":
        return number(value)
    return f"{value * 100:.1f} %".replace("-", "\u2212")


def change(value: float | None, unit: str) -> str:
    """Return a difference with its sign; that of two shares is in percentage points."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    sign = "+" if value > 0 else ""
    return f"{sign}{value * 100:.1f} points".replace("-", "\u2212") if unit == "share" else f"{sign}{number(value)}"


def change_interval(low: float | None, high: float | None, unit: str) -> str:
    """Return the two ends of the interval of a difference, or why there is none."""
    if low is None or high is None:
        return "no interval"
    return f"{change(low, unit).removesuffix(' points')} to {change(high, unit)}"


def unit_words(unit: str) -> str:
    """Return a unit as it stands behind a name; a share needs none, its numbers carry the percent sign."""
    return "" if unit in {"share", ""} else unit


def title_of(name: str) -> str:
    """Return a measure's name without its group in words: `language.bits_per_byte` is `Bits per byte`."""
    words = name.partition(".")[2].replace("_", " ") or name
    return words[:1].upper() + words[1:]


def percent(fraction: float, *, digits: int = 0) -> str:
    """Return an unsigned percentage."""
    return f"{abs(fraction) * 100:.{digits}f} %"


def deviation(fraction: float | None) -> str:
    """Return a signed percentage."""
    return "n/a" if fraction is None else ("-" if fraction < 0 else "+") + percent(fraction, digits=1)


def measure_name(name: str) -> str:
    """Return a measure in words with its unit: `train_minutes` is `training time, min`."""
    unit = next((suffix for suffix in _UNITS if name.endswith(suffix)), "")
    words = _MEASURES.get(name) or name.removesuffix(unit).strip("_").replace("_", " ") or name
    return f"{words}, {_UNITS[unit]}" if unit else words
