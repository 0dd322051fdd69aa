"""What may be talked about: limits compiled in for everyone, and a rating the operator chooses.

Two tiers, as in the OpenAI Model Spec (root and operator). The root tier refuses a scene that holds a signal of a minor
together with a sexual signal. It takes no argument and reads no setting, so nothing can turn it off.
The rules are a fence, not a judge: they read words, not meaning, and refuse rather too much than too little.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from duologue.errors import GuardError
from duologue.guard.fold import quick_views, views

Rating = Literal["general", "mature", "adult"]
RATINGS: tuple[Rating, ...] = get_args(Rating)  # the strictest first
REASON = "content_policy"


@dataclass(frozen=True, slots=True)
class ContentPolicy:
    """The policy at one content rating.

    Attributes:
        rating: `general` refuses sexual content; the others leave it to the operator. The root tier is always the same.
    """

    rating: Rating

    def check(self, texts: Sequence[str], *, where: str) -> None:
        """Refuse a scene that crosses a limit.

        Args:
            texts: Every text of the scene, read together: card, persona, recalled lines, the last messages.
            where: What is checked, for the message.

        Raises:
            GuardError: With reason `content_policy`.
        """
        # Their patterns take 25 ms to compile.
        from duologue.guard.signals import (
            find_sexual,
            is_plainly_without_sexual,
            is_without_sexual,
            without_harmless_phrases,
        )

        joined = "\n".join(texts)
        if joined.isascii() and is_plainly_without_sexual(joined):  # nearly every scene of hundreds of thousands
            return
        readings = quick_views(texts)
        if readings and is_without_sexual(readings):
            return
        scene = "\n".join(views(text) for text in texts)
        if not find_sexual(scene):
            return
        scene = without_harmless_phrases(scene)
        sexual = find_sexual(scene)
        if not sexual:
            return
        _check_root(scene, sexual=sexual, where=where)
        if self.rating == "general":
            raise GuardError(
                f"this is sexual content ('{sexual}') and the content rating is 'general'",
                reason=REASON,
                where=where,
                action="Leave it out; an operator can choose another rating with guard.rating.",
            )


def _check_root(scene: str, *, sexual: str, where: str) -> None:
    from duologue.guard.signals import find_minor

    minor = find_minor(scene)
    if minor:
        raise GuardError(
            f"this brings a minor ('{minor}') and sexual content ('{sexual}') together",
            reason=REASON,
            where=where,
            action="This is refused at every rating, and no setting changes it.",
        )
