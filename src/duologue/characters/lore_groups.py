"""Inclusion groups: of the entries of one group only one goes into the prompt."""

from collections.abc import Callable, Sequence

from duologue.characters.lore_scan import Candidate, Scan


def choose_of_groups(
    chosen: Sequence[Candidate], fired: Sequence[Candidate], *, scan: Scan, roll: Callable[[], float]
) -> list[Candidate]:
    """Return the entries that remain when every group has kept one.

    A group that has fired before keeps none of the new ones. Else those that stay from earlier turns win; then, where
    scoring is on, those with the most matching keys; then the one marked to override; then one is drawn by weight.

    Args:
        chosen: What matched in this pass, first in line first.
        fired: What fired in earlier passes.
        scan: Counts matching keys.
        roll: Draws a number from 0 up to 1.
    """
    out: set[int] = set()
    names = dict.fromkeys(name for one in chosen for name in one.entry.groups)
    for name in names:
        group = [one for one in chosen if name in one.entry.groups and one.number not in out]
        winners, reason = _winners(group, name, fired=fired, scan=scan, roll=roll)
        kept = {one.number for one in winners}
        for one in group:
            if one.number not in kept:
                is_again = f"in the group '{name}'" in one.lost_why  # lost in an earlier pass: that was the reason
                one.give_up(one.lost_why if is_again else f"{one.why}, but in the group '{name}' {reason}")
                out.add(one.number)
    return [one for one in chosen if one.number not in out]


def _winners(
    group: Sequence[Candidate],
    name: str,
    *,
    fired: Sequence[Candidate],
    scan: Scan,
    roll: Callable[[], float],
) -> tuple[Sequence[Candidate], str]:
    sticky = [one for one in group if one.is_sticky]
    if sticky:
        return sticky, f"'{sticky[0].label}' stays"
    before = next((one for one in fired if name in one.entry.groups), None)
    if before is not None:
        return [], f"'{before.label}' fired already"
    group = _best_scored(group, scan)
    if len(group) <= 1:
        return group, f"'{group[0].label}' had more keys" if group else ""
    overriding = [one for one in group if one.entry.overrides_group]
    if overriding:
        winner = max(overriding, key=lambda one: one.entry.order)
        return [winner], f"'{winner.label}' overrides"
    drawn = roll() * sum(one.entry.group_weight for one in group)
    for one in group:
        drawn -= one.entry.group_weight
        if drawn <= 0:
            break
    return [one], f"'{one.label}' was drawn"


def _best_scored(group: Sequence[Candidate], scan: Scan) -> Sequence[Candidate]:
    if not any(scan.is_scored(one) for one in group):
        return group
    scores = {one.number: scan.score(one) for one in group}
    best = max(scores.values())
    return [one for one in group if scores[one.number] == best or not scan.is_scored(one)]
