"""Numbers and names as a person reads them in the report, escaped where they came from outside."""

import html

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
    """Return a text that is safe in HTML content and attributes."""
    return html.escape(str(text), quote=True)


def number(value: float) -> str:
    """Return a number with three significant digits or more."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    digits = 1 if size >= 10 else 2 if size >= 0.1 else 4
    return f"{value:,.{digits}f}"


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
