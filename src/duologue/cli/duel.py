"""`duologue duel`: two replies to the same turn in the terminal, and nobody says whose is whose until the end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from duologue.chat import Bot, duels, load_folder_character, slug
from duologue.cli.duel_rounds import Contenders, Rounds
from duologue.cli.duel_turns import Turns, held_out_turns, turns_of_file
from duologue.cli.engines import EngineChoice, open_chosen
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.show_duels import name_of, show_standings
from duologue.cli.workflow import open_folder
from duologue.config import Config
from duologue.engine import Shelf
from duologue.errors import ConfigError
from duologue.train import Run, list_runs


def duel(
    folder: Annotated[Path, typer.Argument(help="A character's folder.")],
    *,
    first: Annotated[str, typer.Option(help="A run; the newest finished one by default.")] = "",
    second: Annotated[str, typer.Option(help="Another run, or base.")] = duels.BASE,
    rounds: Annotated[int, typer.Option(min=0, help="End after so many picks; 0 goes on until q.")] = 0,
    prompts: Annotated[
        Path | None, typer.Option(help="Text file with a turn on each line, taken one after the other.")
    ] = None,
    is_standings: Annotated[bool, typer.Option("--standings", help="Only show how the runs stand.")] = False,
    engine: Annotated[EngineChoice, typer.Option(help="Engine of both; auto is hf, as trained.")] = "auto",
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Pick the better of two replies, blind, and see which model wins. Each pick is kept at once."""
    out = Output(is_json=is_json)
    config = open_folder(folder, overrides)
    character = load_folder_character(folder, config)
    character_id = slug(character.name)
    document: dict[str, Any] = {"character": character_id}
    if not is_standings:
        pair = _pair(folder, first, second)
        turns = Turns(turns_of_file(prompts) if prompts else held_out_turns(folder, config, out), is_file=bool(prompts))
        with _contenders(folder, config, pair, out, engine=engine) as contenders:
            played = Rounds(contenders, turns, out, folder=folder, base=config.model.base)
            played.run(rounds)
        document |= {"first": pair[0], "second": pair[1], **played.as_json()}
        if played.kept:
            out.say(f"\n{played.summary()}")
    found = duels.standings(folder, character=character_id, account="")
    show_standings(out, found)
    strengths = duels.strengths_of(found)
    out.result({**document, "standings": [each.as_json() for each in found], "strengths": strengths.as_json()})


def _pair(folder: Path, first: str, second: str) -> tuple[str, str]:
    """Return the two runs that meet.

    Raises:
        ConfigError: Nothing is trained yet, there is no such run, or both are the same.
    """
    finished = [run.name for run in list_runs(folder) if run.is_finished]
    if not finished:
        raise ConfigError(
            "nothing is trained yet, so there is nothing to compare",
            where=str(folder),
            action=f"Run: duologue train {folder}",
        )
    pair = first or finished[-1], second
    for option, run in zip(("--first", "--second"), pair, strict=True):
        if run not in (*finished, duels.BASE):
            raise ConfigError(
                f"there is no finished run '{run}'",
                where=option,
                needed=f"one of {', '.join((*reversed(finished), duels.BASE))}",
            )
    if pair[0] == pair[1]:
        raise ConfigError(
            f"{name_of(pair[0])} cannot be compared with itself", where="--second", needed="another run, or base"
        )
    return pair


@contextmanager
def _contenders(
    folder: Path, config: Config, pair: tuple[str, str], out: Output, *, engine: EngineChoice
) -> Iterator[Contenders]:
    """Yield both bots. Memory holds one model; adapters on the same base share it.

    `auto` is hf here: an exported model is compressed, and who wins should not hang on which of two was exported.
    """
    engine = "hf" if engine == "auto" else engine
    with ExitStack() as opened:
        shelf = Shelf(1)
        opened.callback(shelf.close)
        bots: dict[str, Bot] = {}
        for run in pair:
            adapter = None if run == duels.BASE else Run(folder / "runs" / run).adapter()
            bots[run] = open_chosen(folder, config, adapter, out, engine=engine, shelf=shelf)
            opened.callback(bots[run].close)
        with out.progress_console.status("loading"):
            assert all(bot.context_tokens for bot in bots.values())  # loads: a fault is said before somebody writes
        yield Contenders(pair, bots)
