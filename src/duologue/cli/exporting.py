"""What every export of weights is asked for, and what it is compared on."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from duologue import prompt
from duologue.cli.workflow import Prepared
from duologue.messages import Message

if TYPE_CHECKING:
    from duologue.export import HeldOut

OntoChoice = Literal["closer", "original", "trained"]
OntoOption = Annotated[
    OntoChoice,
    typer.Option(help="Fold onto the base's own weights or those it had in training; closer measures both."),
]


def held_out(prepared: Prepared) -> "HeldOut":
    """Return the conversations that were never trained on, or the others where there are none, and the prompts."""
    from duologue.export import HeldOut

    config = prepared.config
    said = [
        prompt.build(prepared.character, (Message("user", text),), user_name=config.character.user_name)
        for text in config.evaluation.prompts
    ]
    return HeldOut(prepared.examples.validation or prepared.examples.train, said)
