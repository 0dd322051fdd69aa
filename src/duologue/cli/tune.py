"""`duologue tune`: learning rate, rank and epochs searched within a time budget."""

import json
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.errors import ConfigError

FOLDER = "tune"
_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_EXPECTED = "a time above zero such as 30m, 90min or 2h"


def tune(
    folder: Annotated[Path, typer.Argument(help="A character's folder.")],
    *,
    budget: Annotated[
        str,
        typer.Option(metavar="TIME", help="Time in all, such as 30m or 2h; with --resume the old one unless given."),
    ] = "",
    num_trials: Annotated[int, typer.Option("--trials", min=0, help="Most trials; 0 sets no limit.")] = 0,
    is_resumed: Annotated[bool, typer.Option("--resume", help="Go on with the search of this folder.")] = False,
    is_writing: Annotated[
        bool, typer.Option("--write", help="Put the best settings into duologue.toml, if they are surely better.")
    ] = False,
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Search learning rate, rank and epochs within a time budget. Ctrl-C saves; --resume goes on."""
    started = time.monotonic()
    out = Output(is_json=is_json)
    seconds = parse_budget(budget) if budget else 0.0
    place = folder / FOLDER
    if is_resumed:
        seconds = seconds or _kept_budget(place)
    elif not budget:
        raise ConfigError("a search needs a budget", where="--budget", needed=_EXPECTED)
    elif (place / "search.json").is_file():
        raise ConfigError(
            "there is a search in this folder already",
            where=str(place),
            action=f"Go on with it: duologue tune {folder} --resume. Or move that folder away to begin a new one.",
        )
    from duologue.cli.tuning import Search  # brings the model libraries' facts, which wrong options need not wait for

    search = Search(folder, overrides, out, seconds=seconds, started=started, is_resumed=is_resumed)
    out.result(search.run(max_trials=num_trials, is_writing=is_writing))


def parse_budget(text: str) -> float:
    """Return a time in seconds.

    Raises:
        ConfigError: It is no time above zero with a unit.
    """
    parts = _TIME.findall(text.strip().lower())
    is_whole = "".join(f"{number}{unit}" for number, unit in parts) == re.sub(r"\s", "", text.lower())
    if not parts or not is_whole or any(unit not in _SECONDS for _, unit in parts):
        raise ConfigError(f"'{text}' is no time", where="--budget", needed=_EXPECTED)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not seconds > 0:
        raise ConfigError(f"'{text}' is no time to work in", where="--budget", needed=_EXPECTED)
    return seconds


def _kept_budget(place: Path) -> float:
    try:
        document: dict[str, Any] = json.loads((place / "search.json").read_text(encoding="utf-8"))
        return float(document["budget_seconds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "there is no search to go on with",
            where=str(place),
            action="Begin one with: duologue tune FOLDER --budget 30m",
        ) from error
