"""How runs stand after duels, for people."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from duologue.chat import Strengths, duels
from duologue.cli.output import Output


def show_standings(out: Output, standings: Sequence[duels.Standing]) -> None:
    """Print every pair with its verdict, and the strengths of all runs on one scale."""
    if not standings:
        out.say("no duel was picked yet")
        return
    out.title("Pairs")
    for each in standings:
        first, second = name_of(each.first), name_of(each.second)
        out.say(
            f"{first} against {second}: {each.first_wins} to {each.second_wins}, {each.ties} equally good, "
            f"{each.both_bad} of neither"
        )
        out.say(f"  {first} wins {each.low:.0%} to {each.high:.0%} of decided picks; {verdict(each)}")
    _show_strengths(out, duels.strengths_of(standings))
    out.say("Intervals are 95% and hold however often you look.", style="dim")


def verdict(standing: duels.Standing) -> str:
    """Return who is ahead, or what it would take to know."""
    if standing.leader:
        return f"{name_of(standing.leader)} is ahead, by more than luck"
    if standing.picks_needed is None:
        return "too early to say, and both are too even to tell how many more picks are needed"
    plural = "" if standing.picks_needed == 1 else "s"
    return f"too early to say: about {standing.picks_needed:,} more pick{plural} needed if it goes on like this"


def name_of(run: str) -> str:
    """Return a run as people read it."""
    return "the base model" if run == duels.BASE else f"run {run}"


def _show_strengths(out: Output, strengths: Strengths) -> None:
    if not strengths.runs:
        return
    out.title("Strengths")
    table = Table("", "Elo points", "95%", "wins against", "picks", "of neither", box=None, pad_edge=False)
    for each in strengths.runs:
        reference = strengths.references[each.group]
        is_zero = each.run == reference
        table.add_row(
            escape(name_of(each.run)),
            "0" if is_zero else f"{each.elo:+.0f}",
            "" if is_zero else f"{each.low:+.0f} to {each.high:+.0f}",
            "" if is_zero else f"{name_of(reference)} {each.share:.0%}",
            str(each.num_picks),
            str(each.num_both_bad),
        )
    out.say(table)
    out.say("400 Elo points are odds of 10 to 1.", style="dim")
    if not strengths.is_connected:
        groups = [
            " and ".join(name_of(each.run) for each in strengths.runs if each.group == group)
            for group in range(len(strengths.references))
        ]
        out.say(f"never compared with each other, so not on one scale: {'; '.join(groups)}", style="yellow")
