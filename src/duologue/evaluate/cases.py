"""`make_cases`: the dialogues of a suite, from held-out conversations and from files with written ones."""

import random
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from duologue.characters import Character
from duologue.errors import ConfigError
from duologue.evaluate.case import Case, CaseKind
from duologue.evaluate.material import prefix_cases, safety_cases
from duologue.evaluate.suite import Suite
from duologue.messages import ROLES, Conversation, Message

_LONG_TURNS = 20  # a written case of so many turns is there to see a character drift


def make_cases(
    suite: Suite,
    character: Character,
    validation: Sequence[Conversation],
    *,
    seed: int,
    train: Sequence[Conversation] = (),
) -> tuple[Case, ...]:
    """Return the dialogues of a suite; the same for the same seed.

    Args:
        suite: Says how many, and holds the written ones.
        character: Its greeting opens the written dialogues, as it opens a chat.
        validation: Held-out conversations.
        seed: Chooses among the conversations.
        train: Conversations that were trained on, for the beginnings of replies.

    Raises:
        ConfigError: A file with written cases has faults; all are told together.
    """
    written = [case for name, text in suite.case_texts.items() for case in _written(name, text, character)]
    held_out = _held_out(validation, suite, seed=seed)
    prefixes = prefix_cases(train, seed=seed, num=suite.num_prefix_cases) if suite.num_prefix_cases else ()
    safety = safety_cases() if suite.has_safety_cases else ()
    cases = (*held_out, *written, *prefixes, *safety)
    ids = [case.id for case in cases]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise ConfigError(f"two cases have the same id: {', '.join(twice)}", where=f"suite {suite.name}")
    return cases


def _held_out(validation: Sequence[Conversation], suite: Suite, *, seed: int) -> list[Case]:
    cases: dict[str, Case] = {}
    for conversation in validation:
        case = _case_of(conversation, num_turns=suite.num_turns)
        if case is not None:
            cases.setdefault(case.id, case)
    order = sorted(cases)
    chosen = random.Random(f"{seed}/held-out cases").sample(order, min(suite.num_held_out_cases, len(order)))
    return [cases[name] for name in sorted(chosen)]


def _case_of(conversation: Conversation, *, num_turns: int) -> Case | None:
    """Return a conversation as a case: what stands before the first user turn, the user's turns, the real replies."""
    messages = conversation.messages
    begin = next((at for at, message in enumerate(messages) if message.role == "user"), None)
    if begin is None or not num_turns:
        return None
    turns: list[str] = []
    references: list[str] = []
    for at in range(begin, len(messages) - 1):
        if messages[at].role == "user" and messages[at + 1].role == "assistant" and len(turns) < num_turns:
            turns.append(messages[at].content)
            references.append(messages[at + 1].content)
    if not turns:
        return None
    return Case(conversation.source, "held_out", tuple(turns), messages[:begin], tuple(references), conversation.source)


def _written(name: str, text: str, character: Character) -> list[Case]:
    try:
        rows = tomllib.loads(text).get("cases")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is no TOML ({error})", where=name) from error
    if not isinstance(rows, list):
        raise ConfigError("the file has no cases", where=name, needed="[[cases]] with 'id' and 'user_turns'")
    faults: list[str] = []
    cases = [_one(name, number, row, character, faults) for number, row in enumerate(rows, start=1)]
    if faults:
        raise ConfigError("; ".join(faults), where=name)
    return [case for case in cases if case is not None]


def _one(name: str, number: int, row: Mapping[str, Any], character: Character, faults: list[str]) -> Case | None:
    where = f"cases[{number}]"
    turns, opening = row.get("user_turns"), row.get("opening")
    before = len(faults)
    if not isinstance(row.get("id"), str) or not row["id"]:
        faults.append(f"{where}.id: found {row.get('id')!r}, needed a text")
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) and turn for turn in turns):
        faults.append(f"{where}.user_turns: found {turns!r}, needed a list of texts")
    kind = row.get("kind", "")
    if kind and kind not in get_args(CaseKind):
        faults.append(f"{where}.kind: found {kind!r}, needed one of {', '.join(get_args(CaseKind))}")
    if opening is not None and not _are_messages(opening):
        faults.append(f"{where}.opening: found {opening!r}, needed a list of tables with 'role' and 'content'")
    if len(faults) > before or not isinstance(turns, list):
        return None
    if opening is not None:
        said = tuple(Message(item["role"], item["content"]) for item in opening)
    else:
        said = (Message("assistant", character.greeting),) if character.greeting.strip() else ()
    return Case(
        id=row["id"],
        kind=kind or ("long" if len(turns) >= _LONG_TURNS else "written"),
        user_turns=tuple(turns),
        opening=said,
        source=name,
    )


def _are_messages(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict) and item.get("role") in ROLES and isinstance(item.get("content"), str) for item in value
    )
