"""Observed models made by hand, for the evaluators of numbers."""

from collections.abc import Sequence

from duologue.characters import Character
from duologue.config import load_recipe
from duologue.evaluate.case import Case
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Dialogue, Known, Observed, Score, Speed, Spoken
from duologue.messages import Conversation, Message


def observed(
    name: str = "base",
    *,
    scores: Sequence[Score] = (),
    dialogues: Sequence[Dialogue] = (),
    speeds: Sequence[Speed] = (),
) -> Observed:
    return Observed(name, {}, tuple(scores), tuple(dialogues), tuple(speeds))


def said(case: Case, *texts: str, seed: int = 0) -> Dialogue:
    return Dialogue(case, seed, tuple(Spoken(text, "stop", 5, 0.1, 0.5, 20) for text in texts))


def talk(source: str, *pairs: tuple[str, str]) -> Conversation:
    messages = [message for asked, told in pairs for message in (Message("user", asked), Message("assistant", told))]
    return Conversation(tuple(messages), source)


def known(
    train: Sequence[Conversation] = (),
    validation: Sequence[Conversation] = (),
    *,
    canaries: dict[str, bool] | None = None,
    character: Character | None = None,
) -> Known:
    return Known(
        load_recipe("quickstart"),
        character or Character(name="Lila"),
        tuple(train),
        tuple(validation),
        canaries=canaries or {},
        seed=3,
    )


def one(measures: Sequence[Measure], name: str, part: str = "") -> Measure:
    [found] = [measure for measure in measures if (measure.name, measure.part) == (name, part)]
    return found
