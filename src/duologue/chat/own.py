"""What makes and draws the prompts of one user."""

from dataclasses import dataclass

from duologue.chat.drawing import Drawing
from duologue.chat.stage import Stage


@dataclass(frozen=True, slots=True)
class Own:
    """The bot's own stage and drawing, or those of a user who has set something.

    Attributes:
        stage: Makes the prompts.
        drawing: Says how replies are drawn.
    """

    stage: Stage
    drawing: Drawing
